"""Networks without the blocks that do nothing any more, against those that they came from."""

import keras
import numpy as np
import pytest
from helpers.pruned_networks import SPEC, answers

import keras_resnets as kr
from keras_resnets.architecture import counting

# What is left of five blocks, the second and the fourth of them (the first of stage 2) deleted, in each placement.
LEFT = {"post": 4, "bn_after": 5, "relu_before": 4, "relu_only": 4, "pre": 4}


@pytest.mark.parametrize("placement", LEFT)
def test_compact_computes_the_same_with_fewer_links(placement, scramble):
    model = scramble(kr.build(SPEC, placement=placement))
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    lesioned = kr.delete(model, [1, 3])
    expected = answers(lesioned, x)
    short = kr.compact(lesioned, spec=model.spec)
    np.testing.assert_array_equal(answers(short, x), expected)
    assert len(short.blocks) == LEFT[placement]
    assert short.spec is None  # a transition of which only the shortcut is left is in no spec
    assert {id(v) for v in short.weights} <= {id(v) for v in model.weights}


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_a_spec_is_carried_where_it_lays_out_what_is_left(placement, scramble):
    model = scramble(kr.build(SPEC, placement=placement))
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    lesioned = kr.delete(model, ["stage1_block2", "stage2_block2"])
    short = kr.compact(lesioned, spec=model.spec, name="less", copy=True)
    assert [stage.blocks for stage in short.spec.stages] == [2, 1]
    assert [block.name for block in short.blocks] == ["stage1_block1", "stage1_block2", "stage2_block1"]
    rebuilt = kr.build(short.spec)
    assert [(v.path, v.shape) for v in rebuilt.weights] == [(v.path, v.shape) for v in short.weights]
    assert counting.count(short.spec).parameters == kr.parameters(short)
    rebuilt.set_weights(short.get_weights())
    for network in (rebuilt, short):
        np.testing.assert_array_equal(answers(network, x), answers(lesioned, x))
    # In a pre-activation network the first block has its first BN-ReLU in front of both branches, which stays.
    first = kr.compact(kr.delete(model, 0), spec=model.spec)
    assert (len(first.blocks), first.spec is None) == ((4, False) if placement == "post" else (5, True))
    assert kr.compact(kr.delete(model, [3, 4]), spec=model.spec).spec is None


def test_a_block_stays_whose_activation_does_something(scramble):
    """Behind a convolution without ReLU, and with a ReLU that leaks, an identity block is more than an identity."""

    def model(activation, leak):
        source = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", activation=activation, name="first")(source)
        for i in range(2):
            x = keras.layers.Add(name=f"b{i}_add")([x, keras.layers.Conv2D(4, 3, padding="same", name=f"c{i}")(x)])
            x = keras.layers.ReLU(negative_slope=leak, name=f"r{i}")(x)
        return kr.adopt(scramble(keras.Model(source, keras.layers.Dense(5)(keras.layers.Flatten()(x)))))

    x = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
    for network, block, left in ((model(None, 0), 0, 2), (model(None, 0), 1, 1), (model("relu", 0.3), 1, 2)):
        lesioned = kr.delete(network, block)
        short = kr.compact(lesioned)
        np.testing.assert_array_equal(answers(short, x), answers(lesioned, x))
        assert len(short.blocks) == left
