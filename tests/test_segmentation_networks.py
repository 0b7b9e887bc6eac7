"""Networks that answer for each pixel, against those that they are made of."""

import keras
import numpy as np

import keras_resnets as kr

RNG = np.random.default_rng(0)


def test_fcn_of_a_network_takes_its_weights_and_its_preprocessing(scramble):
    backbone = scramble(kr.build("resnet38_a1", (64, 64, 3), 7, width=0.03))
    backbone.preprocessing = kr.Preprocessing((1.0,), (2.0,))
    model = kr.segmentation.fcn(backbone, 5, output_stride=16, head_dilation=2)
    assert (model.spec.head, model.spec.output_stride, model.spec.head_dropout) == ("2conv", 16, (0.3, 0.5))
    assert model.preprocessing == backbone.preprocessing
    x = RNG.normal(size=(1, 64, 64, 3)).astype("float32")
    for end in ("stage6_block1", "head"):
        coarse, fine = (keras.Model(m.input, m.get_layer(end).output)(x) for m in (backbone, model))
        if end != "head":
            np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=1e-4, atol=1e-4)
    # The last batch-norm stands in front of the pooling, and of the head.
    norms = [m.get_layer("head").body.layers[0].get_weights() for m in (backbone, model)]
    np.testing.assert_array_equal(*norms)
    assert kr.parameters(model) == kr.counting.count(model.spec, (64, 64, 3)).parameters


def test_fcn_on_a_model_of_anyone(scramble):
    original = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, include_top=False)
    model = kr.segmentation.fcn(original, 5, "1conv", head_dilation=1)
    x = RNG.normal(size=(1, 64, 64, 3)).astype("float32")
    assert model.output_shape == (None, 2, 2, 5)
    assert len(model.blocks) == len(kr.adopt(original).blocks)
    logits = model.get_layer("scores").body.get_layer("logits")
    maps = keras.ops.conv(original(x, training=False), logits.kernel, padding="same") + logits.bias
    np.testing.assert_allclose(model(x), keras.ops.softmax(maps), rtol=1e-4, atol=1e-6)


def test_a_network_of_small_stride_stays_as_it_is():
    assert kr.segmentation.dense("resnet20").output_stride is None
    assert kr.segmentation.dense("wu_f").output_stride is None
    spec = kr.segmentation.dense("resnet50_v15", "1conv", 16)
    assert (spec.head, spec.output_stride) == ("1conv", 16)
    assert kr.segmentation.dense(spec) is spec
