"""The journal of a search, and the oracles that it brings back."""

import json
import random

import pytest
from helpers.search_setting import space_of

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.search import oracles
from keras_resnets.search.journal import Journal

pytestmark = pytest.mark.backends


def play(oracle, *, workers, seed, stop=None):
    """Drives an oracle by workers that are done in a random order; a trial's score follows from its values."""
    asking = [f"w{k}" for k in range(workers)]
    held = {name: trial.trial_id for name, trial in oracle.ongoing_trials.items()}
    events = 0
    while True:
        if stop is not None and events >= stop:
            return
        free = [name for name in asking if name not in held]
        # Whoever comes next is a function of what happened so far, as in the run that is not disturbed.
        rng = random.Random(f"{seed} {len(oracle.trials)} {len(oracle.end_order)}")
        if free and (not held or rng.random() < 0.6):
            trial = oracle.create_trial(free[0])
            if trial.status == "RUNNING":
                held[free[0]] = trial.trial_id
                events += 1
                continue
            if trial.status == "STOPPED":
                return
        name = rng.choice(sorted(held))
        trial = oracle.trials[held.pop(name)]
        values = json.dumps(trial.hyperparameters.values, sort_keys=True)
        score = random.Random(values).random()
        oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        events += 1


def told(oracle):
    return [(t.trial_id, t.status, t.score, t.hyperparameters.values) for _, t in sorted(oracle.trials.items())]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", oracles.NAMES)
def test_an_oracle_told_the_journal_goes_on_as_the_one_that_wrote_it(digits, kind, workers, tmp_path):
    space = space_of(digits, blocks=(1, 2), epochs=9, learning_rate=kr.search.Range(0.01, 0.3))
    trials = {"grid": None, "hyperband": None, "random": 12, "bayesian": 12}[kind]

    def fresh(file):
        journal = Journal(file)
        oracle = oracles.make(kind, space, trials, seed=3, journal=journal)
        events, torn = journal.read()
        assert torn == 0
        oracle.replay(events)
        return oracle

    undisturbed = fresh(tmp_path / "undisturbed.jsonl")
    play(undisturbed, workers=workers, seed=7)
    assert len(undisturbed.trials) >= 12
    assert undisturbed.stopped
    disturbed = fresh(tmp_path / "disturbed.jsonl")
    for stop in (1, 6, 8, None):
        play(disturbed, workers=workers, seed=7, stop=stop)
        disturbed = fresh(tmp_path / "disturbed.jsonl")
    assert told(disturbed) == told(undisturbed)
    assert disturbed.stopped
    assert disturbed.create_trial("w0").status == "STOPPED"
    assert Journal(tmp_path / "disturbed.jsonl").read() == Journal(tmp_path / "undisturbed.jsonl").read()


def test_of_a_journal_torn_anywhere_the_whole_lines_are_read(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    events = [
        {"event": "search", "asked": {"a": 1}},
        {"event": "begin", "worker": "w", "trial": "0", "values": {"x": 0.1}},
        {"event": "stop"},
    ]
    for event in events:
        journal.append(event)
    content = journal.file.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        journal.file.write_bytes(content[:cut])
        found, torn = journal.read()
        assert found == events[: sum(end <= cut for end in ends)]
        assert torn == (cut not in (0, *ends))
    journal.file.write_bytes(content[: ends[0]] + b"\x00\x00\x00\n" + content[ends[0] :])
    assert journal.read() == (events[:1], 3)


def test_no_flipped_bit_of_a_journal_goes_unnoticed(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    events = [
        {"event": "search", "asked": {"a": 1}},
        {"event": "begin", "worker": "w", "trial": "0", "values": {"x": 0.1}},
        {"event": "end", "trial": "0", "status": "COMPLETED", "metrics": {"val_accuracy": float("inf")}, "step": 3},
    ]
    for event in events:
        journal.append(event)
    content = journal.file.read_bytes()
    assert journal.read() == (events, 0)
    for place in range(content.index(b"\n") + 1, len(content)):
        for bit in (1, 4, 64):
            journal.file.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            found, torn = journal.read()
            assert found == events[: len(found)]
            assert torn
    # Lines of early versions are read as they are; an event that cannot be replayed ends them.
    plain = [json.dumps(event) + "\n" for event in events]
    journal.file.write_text("".join(plain) + '{"event": "end", "trial": "7"}\n')
    assert journal.read() == (events, 1)


def test_a_journal_of_another_oracle_is_refused(digits, tmp_path):
    space = space_of(digits, learning_rate=kr.search.Range(0.01, 0.3))
    journal = Journal(tmp_path / "j.jsonl")
    oracles.make("random", space, 3, seed=0, journal=journal).create_trial("w0")
    with pytest.raises(ArgumentError, match="the oracle proposes"):
        oracles.make("random", space, 3, seed=1, journal=journal).replay(journal.read()[0])


def test_a_trial_that_nobody_trains_is_given_to_the_next(digits, tmp_path):
    space, journal = space_of(digits), Journal(tmp_path / "j.jsonl")
    oracle = oracles.make("random", space, 2, journal=journal)
    lost = oracle.create_trial("a")
    other = oracle.create_trial("b")
    assert oracle.create_trial("a") is lost  # the same place gets its own again
    # The search does not end while a trial may be left behind.
    assert oracle.create_trial("c").status == "IDLE"
    oracle.lost = lambda trial: trial == lost.trial_id
    assert oracle.create_trial("c") is lost
    oracle.lost = lambda trial: False
    meanwhile = oracles.make("random", space, 2, journal=journal)
    meanwhile.replay(journal.read()[0])
    assert {name: trial.trial_id for name, trial in meanwhile.ongoing_trials.items()} == {"c": "0", "b": "1"}
    for trial in (lost, other):
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert oracle.end_order == [lost.trial_id, other.trial_id]
    assert oracle.create_trial("a").status == "STOPPED"
    again = oracles.make("random", space, 2, journal=journal)
    again.replay(journal.read()[0])
    assert again.end_order == oracle.end_order
    assert not again.ongoing_trials


def test_trials_that_diverge_in_a_row_do_not_end_the_search(digits, tmp_path):
    """keras-tuner ends a search at the third."""
    journal = Journal(tmp_path / "j.jsonl")
    space = space_of(digits)
    oracle = oracles.make("random", space, 4, "val_loss", journal=journal)
    while (trial := oracle.create_trial("w")).status == "RUNNING":
        oracle.update_trial(trial.trial_id, {"val_loss": float("nan")})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert (trial.status, len(oracle.end_order)) == ("STOPPED", 4)
    again = oracles.make("random", space, 4, "val_loss", journal=journal)
    again.replay(journal.read()[0])
    assert again.end_order == oracle.end_order
