"""Rounds of deletions that go on from each other, against the same programs walked from their start."""

import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.instruments.evaluation import engine_for, one_more, rounds_for
from keras_resnets.instruments.lanes import SHORTCUT, Lanes, program, work
from keras_resnets.instruments.rounds import Rounds, places


def sweep(model, gone):
    rest = [i for i in range(len(model.blocks)) if i not in gone]
    return [program(model), *(program(model, dict.fromkeys([*gone, i], SHORTCUT)) for i in rest)]


def test_rounds_are_those_from_the_start_to_the_bit(scramble):
    model = scramble(kr.build("resnet14", (4, 4, 1), 3))
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(n, 4, 4, 1)).astype("float32") for n in (4, 4, 2)]
    lanes, gone = Lanes(model), []
    rounds = {limit: Rounds(lanes, 12, limit) for limit in (2**30, 40_000, 3_000, 0)}
    shares = {limit: [] for limit in rounds}
    for chosen in (4, 1, 5):
        programs = sweep(model, gone)
        expected = [lanes.outputs(x, programs) for x in data]
        for limit, engine in rounds.items():
            ticks = []
            for x, rows in zip(data, expected, strict=True):
                np.testing.assert_array_equal(engine.outputs(x, programs, ticks.append), rows)
            assert engine.held <= limit
            shares[limit].append(sum(ticks) / (len(data) * work(programs)))
            if limit == 2**30:
                # The stem and the blocks before the last choice are not run again, and the whole network only once.
                before, walked = (1 + gone[-1], programs[1:]) if gone else (0, programs)
                run = {p.steps[:n] for p in walked for n in range(before + 1, len(p.steps) + 1)}
                assert sum(ticks) == len(data) * len(run)
        gone.append(chosen)
    for limit, engine in rounds.items():
        assert shares[limit][0] == 1
        assert (min(shares[limit]) < 1) == (limit > 0)
        assert engine.full == bool(engine.told) == (limit < 40_000)  # that much holds a place of every batch
    # Contents tell batches apart, not their places.
    other = data[0] + 1
    np.testing.assert_array_equal(rounds[2**30].outputs(other, programs), lanes.outputs(other, programs))


def test_memory_is_spent_where_it_saves_most():
    chain = kr.build("resnet20", (32, 32, 3)).chain
    assert places(chain, 100, 2**40) == set(range(2, 10))  # before each block but the first; nothing is before that
    # 100 images behind the seventh block, of 8 x 8 x 64, and all lanes.
    assert places(chain, 100, 8 * 100 * 4 * 8 * 8 * 64) == {8}
    assert len(places(chain, 100, 1)) == len(places(chain, None, 2**40)) == 1
    assert 1 < len(places(chain, 100, 3 * 8 * 100 * 4 * 8 * 8 * 64)) < 8


@pytest.mark.backends
def test_rounds_measure_what_single_sweeps_do(scramble):
    model = scramble(kr.build("resnet8", (8, 8, 1), 3))
    rng = np.random.default_rng(0)
    data = rng.normal(size=(9, 8, 8, 1)).astype("float32"), rng.integers(0, 3, 9)
    lanes = engine_for(model, 2**30)
    rounds = rounds_for(lanes, data)
    for gone in ([], [1], [1, 2]):
        rest = [i for i in range(3) if i not in gone]
        table, facts = one_more(model, data, gone, rest, engine=rounds)
        plain, plain_facts = one_more(model, data, gone, rest, engine=lanes)
        assert table.equals(plain)
        assert facts == plain_facts
    assert rounds.held > 0
