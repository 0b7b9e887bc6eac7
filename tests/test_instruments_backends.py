"""The instruments on every backend: gradients by path against autodiff of the whole, lanes and taps against edits."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.gradients import gradient, loss_along, weights_of, whole_loss
from keras import ops
from safetensors.numpy import load_file, save_file

import keras_resnets as kr
from keras_resnets.instruments import differentiation
from keras_resnets.instruments.energy import measure
from keras_resnets.instruments.lanes import RESIDUAL, SHORTCUT, Lanes, program
from keras_resnets.instruments.spectrum import INPUT, Spectrum

pytestmark = pytest.mark.backends

# Written on TensorFlow by `python tests/test_instruments_backends.py`.
GOLDEN = Path(__file__).parent / "golden" / "spectrum.safetensors"


def drawn(model, seed=0):
    """Gives a network weights that NumPy draws; backends draw others of a seed."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        size = np.sqrt(1 / np.prod(variable.shape[:-1])) if variable.path.endswith("kernel") else 0.3
        values = rng.normal(0, size, variable.shape)
        positive = variable.path.endswith(("gamma", "moving_variance"))
        variable.assign(np.abs(1 + 0.3 * values) if positive else values)
    return model


@pytest.fixture(scope="module")
def model():
    """Three blocks, the first pre-activation shared by its branches, one of them strided with a projection."""
    stages = (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    spec = kr.Spec("tiny", stages, (8, 8, 1), 5, stem_width=4, placement="pre", shortcut="B")
    return drawn(kr.build(spec, classifier_activation=None))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 8, 8, 1)).astype("float32"), rng.integers(0, 5, 3)


@pytest.fixture(scope="module")
def along(model, data):
    """The gradient at the input of each path, differentiated by itself, by its gates."""
    (x, y), found = data, {}
    gates = np.array(list(itertools.product([0.0, 1.0], repeat=3)), "float32")
    loss, weights = loss_along(model, y), weights_of(model)
    # All paths at once: each example is there once for each path.
    loss = loss_along(model, np.tile(y, len(gates)))
    copies, by_example = np.tile(x, (len(gates), 1, 1, 1)), np.repeat(gates, len(x), 0).T
    at_input, *_ = gradient(loss, [copies, by_example, *weights])
    for path, rows in zip(gates, at_input.reshape(len(gates), *x.shape), strict=True):
        found[tuple(path.astype(bool).tolist())] = rows
    return found


def test_the_gradient_along_paths_is_that_of_the_network_cut_to_them(model, data, along):
    every = np.array(list(along))  # eight draws, of three blocks
    gates = np.repeat(every[:, :, None], 3, 2)
    for path, found in zip(along, Spectrum(model).along(*data, gates), strict=True):
        expected = along[path]
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_parts_are_sums_over_all_paths_and_sum_to_the_gradient(model, data, along):
    x, y = data
    at_input, *by_weight = gradient(whole_loss(model, y), [x, *weights_of(model)])
    place = model.blocks[1].name
    found = {(part.of, part.at): part for part in Spectrum(model).exact(x, y, weights=True, at=[place])}
    values = np.stack([sum(rows for path, rows in along.items() if sum(path) == k) for k in range(4)])
    part = found["values", INPUT]
    flat, whole = values.reshape(4, 3, -1).astype("float64"), at_input.reshape(3, -1).astype("float64")
    size = np.linalg.norm(whole, axis=1)
    np.testing.assert_allclose(part.norm, np.linalg.norm(flat, axis=2), rtol=1e-4)
    np.testing.assert_allclose(part.whole, size, rtol=1e-5)
    np.testing.assert_allclose(part.share, np.einsum("kei,ei->ke", flat, whole) / size**2, rtol=1e-3, atol=1e-5)
    rest = [np.linalg.norm(flat[k + 1 :].sum(0), axis=1) for k in range(4)]
    np.testing.assert_allclose(part.rest, rest / size, rtol=1e-3, atol=1e-5)
    assert part.error.max() < 1e-5
    # Of the mean loss with respect to each link's weights.
    of_link = {}
    for variable, g in zip(model.trainable_variables, by_weight, strict=True):
        of_link.setdefault(variable.path.split("/")[0], []).append(g.ravel() / 3)
    named = [link.name for link in Spectrum(model).chain]
    assert {at for of, at in found if of == "weights"} == set(named)
    for name in named:
        part = found["weights", name]
        np.testing.assert_allclose(part.whole, np.linalg.norm(np.concatenate(of_link[name])), rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(part.share.sum(0), 1, rtol=1e-4)
        assert part.error.max() < 1e-4
    # Behind the last block, a path to its weights is no longer than one.
    assert len(found["weights", named[-1]].norm) == 2
    assert len(found["values", place].norm) == 2


def numbers(network):
    """What the spectrum in double precision says of a network."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 8, 8, 1)).astype("float32"), rng.integers(0, network.output_shape[1], 2)
    found = list(Spectrum(network, "float64").exact(x, y, weights=True))
    assert max(part.error.max() for part in found) < 1e-12
    columns = ("norm", "share", "rest", "whole")
    return {f"{part.of} {part.at} {column}": getattr(part, column) for part in found for column in columns}


NETWORKS = {"tiny": None, "preresnet20": ("preresnet20", (8, 8, 1), 10)}


@pytest.mark.parametrize("name", ["tiny", pytest.param("preresnet20", marks=pytest.mark.thorough)])
def test_the_spectrum_in_double_precision_is_that_of_tensorflow(name, model):
    network = drawn(kr.build(*NETWORKS[name], classifier_activation=None)) if NETWORKS[name] else model
    known = {key: value for key, value in load_file(GOLDEN).items() if key.startswith(f"{name} ")}
    found = {f"{name} {key}": value for key, value in numbers(network).items()}
    assert found.keys() == known.keys()
    for key, value in found.items():
        np.testing.assert_allclose(value, known[key], rtol=1e-9, atol=1e-12 * np.abs(known[key]).max(), err_msg=key)


def test_double_precision_ends_with_its_context():
    x = np.full(3, 1 / 3)
    with differentiation.in_double_precision():
        third = ops.convert_to_tensor(x) * 1
        assert keras.backend.standardize_dtype(ops.add(third, third).dtype) == "float64"
        assert keras.backend.result_type("float64", "float32") == "float64"
    usual = "float64" if keras.config.backend() == "tensorflow" else "float32"
    assert keras.backend.result_type("float64", "float32") == usual


def test_each_branch_takes_its_own_gradient_back():
    a, b = ops.convert_to_tensor([1.0, 2.0]), ops.convert_to_tensor([3.0, 5.0])
    (y, z, none), back = differentiation.pullback(lambda a, b: [a * b, a * a, ops.zeros(2)], [a, b])
    assert ops.convert_to_numpy(y).tolist() == [3, 10]
    assert ops.convert_to_numpy(z).tolist() == [1, 4]
    parts = ops.convert_to_tensor([[1.0, 1.0], [0.0, 2.0]])
    each = differentiation.for_each(lambda k: back([parts[k], 10 * parts[k], none]), 2, [a, b])
    by_a, by_b = (ops.convert_to_numpy(part).tolist() for part in each)
    assert by_a == [[3 + 20, 5 + 40], [0, 2 * (5 + 40)]]
    assert by_b == [[1, 2], [0, 4]]
    # What a value does not depend on has a gradient of zero.
    _, back = differentiation.pullback(lambda a, b: a * 2, [a, b])
    assert [ops.convert_to_numpy(g).tolist() for g in back([parts[0]])] == [[2, 2], [0, 0]]


def test_lanes_are_networks_edited_and_batches_may_differ_in_size(model, data):
    lanes = Lanes(model)
    programs = [
        program(model),
        program(model, {1: SHORTCUT}),
        program(model, {0: RESIDUAL}),
        program(model, None, [1, 0, 2]),
    ]
    networks = [model, kr.delete(model, 1), kr.unskip(model, 0), kr.reorder(model, [1, 0, 2])]
    for x in (data[0], data[0][:2]):
        found = lanes.outputs(x, programs)
        for output, network in zip(found, networks, strict=True):
            np.testing.assert_allclose(output, network.predict_on_batch(x), rtol=1e-4, atol=1e-5)
    # The weights that the network has now.
    before, kernel = found, model.blocks[0].residual.get_layer("conv1").kernel
    value = ops.convert_to_numpy(kernel)
    kernel.assign(2 * value)
    changed = lanes.outputs(x, programs)
    kernel.assign(value)
    assert np.abs(changed - before).max() > 1e-3


def test_taps_read_what_the_layers_give(model, data):
    taps = kr.taps.taps_of(model)
    network = kr.taps.Reader(model, taps)
    for tap, value in network.values(data[0]):
        if tap.name.endswith(("conv1", "bn2")):
            expected = model.inner(tap.name).predict_on_batch(data[0])
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5, err_msg=tap.name)


def test_branches_are_measured_with_the_statistics_of_the_batch(model, data):
    before = model.get_weights()
    rows = measure(model, data[0])
    assert rows["block"].tolist() == [block.name for block in model.blocks]
    gammas = [ops.convert_to_numpy(block.residual.get_layer("bn2").gamma) for block in model.blocks]
    np.testing.assert_allclose(rows["gamma"], [np.abs(gamma).mean() for gamma in gammas], rtol=1e-5)
    for value, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, was)


if __name__ == "__main__":
    assert keras.config.backend() == "tensorflow"
    written = {}
    for key, how in NETWORKS.items():
        stages = (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2))
        spec = kr.Spec("tiny", stages, (8, 8, 1), 5, stem_width=4, placement="pre", shortcut="B")
        network = (
            drawn(kr.build(*how, classifier_activation=None))
            if how
            else drawn(kr.build(spec, classifier_activation=None))
        )
        written |= {f"{key} {name}": np.asarray(value) for name, value in numbers(network).items()}
    save_file(written, GOLDEN)
