"""Losses, measures and prediction for each pixel, against NumPy and scikit-learn; networks, recipes, pictures."""

import keras
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.segmentation import metrics as pixel_metrics
from keras_resnets.segmentation import prediction
from keras_resnets.training.recipes import Held

RNG = np.random.default_rng(0)


def some_probabilities(*shape):
    scores = np.exp(np.random.default_rng(1).normal(size=shape))
    return (scores / scores.sum(-1, keepdims=True)).astype("float32")


def some_labels(*shape, classes=5, seed=2):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.2, 255, rng.integers(0, classes, shape))


def own(probabilities, labels):
    """Probability of the class of each pixel that has one, by loops."""
    places = (place for place in np.ndindex(labels.shape) if labels[place] != 255)
    return np.array([float(probabilities[place][labels[place]]) for place in places])


def test_loss_at_the_output_takes_the_label_in_the_middle():
    # Stride 8: labels at rows and columns 4, 12, 20 (papers.md 5.5).
    probabilities, labels = some_probabilities(2, 3, 4, 5), some_labels(2, 24, 32)
    expected = -np.log(own(probabilities, labels[:, 4::8, 4::8])).mean()
    for given in (labels, labels[..., None], labels.astype("uint8")):
        assert float(kr.segmentation.PixelLoss()(given, probabilities)) == pytest.approx(expected, rel=1e-5)
    changed = labels.copy()
    changed[:, 5::8], changed[:, :, 3::8] = 0, 0
    assert float(kr.segmentation.PixelLoss()(changed, probabilities)) == pytest.approx(expected, rel=1e-5)


def test_loss_at_the_output_of_a_size_that_the_stride_does_not_divide():
    # 20 rows under 3 of a map: a step of 7, labels at rows 3, 10, 17; the last place stays within the labels.
    probabilities, labels = some_probabilities(1, 3, 3, 5), some_labels(1, 20, 15)
    expected = -np.log(own(probabilities, labels[:, [3, 10, 17]][:, :, [2, 7, 12]])).mean()
    assert float(kr.segmentation.PixelLoss()(labels, probabilities)) == pytest.approx(expected, rel=1e-5)


def test_loss_at_the_input_interpolates_logits():
    logits = np.log(some_probabilities(2, 3, 4, 5).astype("float64"))
    labels = some_labels(2, 24, 32)
    places = [np.clip((np.arange(n) + 0.5) / 8 - 0.5, 0, n // 8 - 1) for n in (24, 32)]
    low = [np.minimum(np.floor(p).astype(int), n - 2) for p, n in zip(places, (3, 4), strict=True)]
    share = [p - floor for p, floor in zip(places, low, strict=True)]
    down, right = share[0][:, None, None], share[1][:, None]
    rows = (1 - down) * logits[:, low[0]] + down * logits[:, low[0] + 1]
    large = np.exp((1 - right) * rows[:, :, low[1]] + right * rows[:, :, low[1] + 1])
    expected = -np.log(own(large / large.sum(-1, keepdims=True), labels)).mean()
    loss = kr.segmentation.PixelLoss(at="input")
    assert float(loss(labels, np.exp(logits).astype("float32"))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("at", ["output", "input"])
def test_a_network_that_is_sure_and_wrong_still_learns(at):
    # Its probabilities have become 0 and 1 in single precision; its logits have not.
    source = keras.Input((4, 4, 3))
    scores = keras.layers.Conv2D(
        3, 1, kernel_initializer="zeros", bias_initializer=lambda *_, **__: np.array([300.0, 0, 0])
    )
    model = keras.Model(source, keras.layers.Activation("softmax")(scores(source)))
    model.compile(keras.optimizers.SGD(1.0), kr.segmentation.PixelLoss(at=at))
    model.train_on_batch(np.zeros((1, 4, 4, 3), "float32"), np.ones((1, 4, 4), "int32"))
    np.testing.assert_allclose(np.asarray(scores.bias), [299, 1, 0], atol=1e-4)


@pytest.mark.parametrize(("hardest", "least"), [(0.2, 1), (0.05, 10), (0.05, 40), (0.2, 10_000)])
def test_hard_pixels_are_those_below_the_threshold_and_at_least_so_many(hardest, least):
    probabilities, labels = some_probabilities(2, 6, 8, 5), some_labels(2, 6, 8)
    ranked = np.sort(own(probabilities, labels))
    kept = ranked[: max((ranked <= hardest).sum(), min(least, len(ranked)))]
    loss = kr.segmentation.PixelLoss(hardest, least)
    assert float(loss(labels, probabilities)) == pytest.approx(-np.log(kept).mean(), rel=1e-5)
    assert len(kept) in ((ranked <= hardest).sum(), least, len(ranked))


def test_gradient_of_the_loss_is_that_of_the_pixels_that_count():
    import tensorflow as tf

    labels, logits = some_labels(1, 4, 4), tf.Variable(RNG.normal(size=(1, 4, 4, 5)).astype("float32"))
    with tf.GradientTape() as tape:
        probabilities = tf.nn.softmax(logits)
        loss = kr.segmentation.PixelLoss(0.2, 3)(labels, probabilities)
    gradient, p = np.asarray(tape.gradient(loss, logits)), np.asarray(probabilities)
    true = np.take_along_axis(p, np.where(labels == 255, 0, labels)[..., None], -1)[..., 0]
    kept = (labels != 255) & (true <= max(0.2, np.sort(true[labels != 255])[2]))
    expected = (p - np.eye(5)[np.where(labels == 255, 0, labels)]) * kept[..., None] / kept.sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_a_batch_without_a_class_has_no_loss():
    labels = np.full((1, 4, 4), 255)
    for loss in (kr.segmentation.PixelLoss(), kr.segmentation.PixelLoss(0.6, 4)):
        assert float(loss(labels, some_probabilities(1, 4, 4, 5))) == 0


def test_measures_are_those_of_scikit_learn():
    batches = [(some_labels(2, 16, 24, seed=s), some_probabilities(2, 16, 24, 5)) for s in range(3)]
    for labels, _ in batches:
        labels[labels == 3] = 2  # a class that is not there, though it is answered
    iou, accuracy = kr.segmentation.MeanIoU(5), kr.segmentation.PixelAccuracy()
    counts = 0
    for labels, probabilities in batches:
        iou.update_state(labels[..., None], probabilities)
        accuracy.update_state(labels, probabilities)
        counts = counts + pixel_metrics.confusion_matrix(labels, probabilities.argmax(-1), 5)
    truth = np.concatenate([labels.ravel() for labels, _ in batches])
    answers = np.concatenate([probabilities.argmax(-1).ravel() for _, probabilities in batches])
    truth, answers = truth[truth != 255], answers[truth != 255]
    np.testing.assert_array_equal(counts, sklearn_metrics.confusion_matrix(truth, answers, labels=range(5)))
    each = sklearn_metrics.jaccard_score(truth, answers, average=None, labels=range(5))
    scores = kr.segmentation.score(counts)
    np.testing.assert_allclose(scores.iou, each)
    assert scores.mean_iou == pytest.approx(each.mean())
    assert float(iou.result()) == pytest.approx(each.mean(), rel=1e-6)
    assert scores.accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, answers))
    assert float(accuracy.result()) == pytest.approx(scores.accuracy, rel=1e-6)


def test_a_class_neither_there_nor_answered_is_left_out_of_the_mean():
    labels, answers = np.array([0, 0, 1, 255]), np.array([0, 1, 1, 2])
    scores = kr.segmentation.score(pixel_metrics.confusion_matrix(labels, answers, 4))
    assert np.isnan(scores.iou[2:]).all()
    assert scores.mean_iou == pytest.approx(0.5)
    metric = kr.segmentation.MeanIoU(4)
    metric.update_state(labels[None, None], np.eye(4, dtype="float32")[answers][None, None])
    assert float(metric.result()) == pytest.approx(0.5)


def test_any_label_can_be_the_one_that_does_not_count():
    metric, answers = kr.segmentation.MeanIoU(3, ignore_class=2), np.eye(3, dtype="float32")[np.array([[[0, 1, 0]]])]
    metric.update_state(np.array([[[0, 1, 2]]]), answers)
    assert float(metric.result()) == pytest.approx(1)


def test_measures_compare_at_the_pixels_of_the_labels():
    probabilities, labels = some_probabilities(1, 3, 4, 5), some_labels(1, 24, 32)
    large = np.asarray(keras.ops.image.resize(probabilities, (24, 32), "bilinear"))
    metric = kr.segmentation.MeanIoU(5)
    metric.update_state(labels, probabilities)
    expected = kr.segmentation.score(pixel_metrics.confusion_matrix(labels, large.argmax(-1), 5)).mean_iou
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "thing",
    [kr.segmentation.MeanIoU(3, 7), kr.segmentation.PixelAccuracy(7), kr.segmentation.PixelLoss(0.6, 9, "input", 7)],
)
def test_losses_and_metrics_come_back_from_their_configuration(thing):
    again = type(thing).from_config(thing.get_config())
    assert again.get_config() == thing.get_config()
    labels, probabilities = np.array([[[0, 7, 2]]]), some_probabilities(1, 1, 3, 3)
    assert float(np.sum(again(labels, probabilities))) == float(np.sum(thing(labels, probabilities)))


@keras.saving.register_keras_serializable("tests")
class Colours(keras.layers.Layer):
    """Answers, at half size, what the pixels' own colours say, and where they stand in the image from the left."""

    def call(self, x):
        x = keras.ops.average_pool(x, 2, 2, "same")
        return keras.ops.softmax(x, -1)


@pytest.fixture
def colours():
    source = keras.Input((None, None, 3))
    return keras.Model(source, Colours()(source))


def bicubic(maps, size):
    return np.asarray(keras.ops.image.resize(maps, size, "bicubic"))


def test_whole_images_are_padded_flipped_and_enlarged(colours):
    # Padded to 8x12; the mirror image is padded on its own far side, which is the near one of the image.
    x = RNG.normal(size=(2, 7, 10, 3)).astype("float32")

    def seen(images):
        padded = np.pad(images, [(0, 0), (0, 1), (0, 2), (0, 0)])
        return bicubic(np.asarray(colours(padded)), (8, 12))[:, :7, :10]

    plain, mirrored = seen(x), seen(x[:, :, ::-1])[:, :, ::-1]
    assert np.abs(plain - mirrored).max() > 1e-3
    options = {"multiple": 4}
    np.testing.assert_allclose(kr.segmentation.probabilities(colours, x, flip=False, **options), plain, atol=1e-6)
    np.testing.assert_allclose(kr.segmentation.probabilities(colours, x, **options), (plain + mirrored) / 2, atol=1e-6)
    np.testing.assert_array_equal(kr.segmentation.predict(colours, x, **options), ((plain + mirrored) / 2).argmax(-1))


def test_scales_are_averaged_at_the_size_of_the_image(colours):
    x = RNG.normal(size=(1, 8, 12, 3)).astype("float32")
    expected = []
    for size in ((4, 6), (16, 24)):
        seen = np.asarray(keras.ops.image.resize(x, size, "bilinear", antialias=True))
        expected.append(bicubic(bicubic(np.asarray(colours(seen)), size), (8, 12)))
    found = kr.segmentation.probabilities(colours, x, flip=False, scales=(0.5, 2.0), multiple=2)
    np.testing.assert_allclose(found, np.mean(expected, 0), atol=1e-6)


@pytest.mark.parametrize("overlap", [0, 0.5])
def test_windows_cover_every_pixel_and_are_averaged(colours, overlap):
    x = RNG.normal(size=(1, 10, 7, 3)).astype("float32")
    total, times = np.zeros((10, 7, 3)), np.zeros((10, 7, 1))
    for top in {0: (0, 4, 6), 0.5: (0, 2, 4, 6)}[overlap]:
        for left in {0: (0, 3), 0.5: (0, 2, 3)}[overlap]:
            part = x[:, top : top + 4, left : left + 4]
            total[top : top + 4, left : left + 4] += bicubic(np.asarray(colours(part)), (4, 4))[0]
            times[top : top + 4, left : left + 4] += 1
    found = kr.segmentation.probabilities(colours, x, flip=False, window=4, overlap=overlap, multiple=2)
    np.testing.assert_allclose(found[0], total / times, atol=1e-6)
    whole = kr.segmentation.probabilities(colours, x, flip=False, multiple=2)
    np.testing.assert_allclose(
        kr.segmentation.probabilities(colours, x, flip=False, window=50, overlap=overlap, multiple=2), whole, atol=1e-6
    )


def test_evaluate_counts_all_pixels_and_draws_images(colours):
    batches = [
        (RNG.normal(size=(2, 6, 8, 3)).astype("float32"), some_labels(2, 6, 8, classes=3, seed=s)) for s in (0, 1)
    ]
    scores, intervals = kr.segmentation.evaluate(colours, batches, 3, draws=400, multiple=2)
    answers = [kr.segmentation.predict(colours, x, multiple=2) for x, _ in batches]
    truth, answers = np.concatenate([y for _, y in batches]), np.concatenate(answers)
    valid = truth != 255
    np.testing.assert_array_equal(scores.confusion, sklearn_metrics.confusion_matrix(truth[valid], answers[valid]))
    each = [(answers[i] == truth[i])[valid[i]].sum() for i in range(4)]
    drawn = np.random.default_rng(5).integers(0, 4, (4000, 4))
    accuracies = np.take(each, drawn).sum(1) / np.take(valid.sum((1, 2)), drawn).sum(1)
    np.testing.assert_allclose(intervals["accuracy"], np.quantile(accuracies, (0.025, 0.975)), atol=0.03)
    low, high = intervals["mean_iou"]
    assert low < scores.mean_iou < high
    assert intervals == kr.segmentation.evaluate(colours, batches, 3, draws=400, multiple=2)[1]


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


def test_bias_rate_and_decay_of_weights(tiny, images, scramble):
    # One step of plain SGD by hand; MXNet's rule decays kernels and scales (papers.md 5.5).
    x, y = images
    model = scramble(kr.build(tiny))
    model.compile(kr.optimizers.SGD(0.1, l2=0.01, decay="weights", bias_rate=2.0), "sparse_categorical_crossentropy")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    scramble(model)  # the moving statistics moved
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    before = [np.asarray(v) for v in model.trainable_variables]
    model.train_on_batch(x, y)
    for variable, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        decays = variable.name in ("kernel", "gamma")
        step = 0.1 * (2 if variable.name in ("bias", "beta") else 1) * (np.asarray(gradient) + 0.01 * decays * old)
        np.testing.assert_allclose(variable, old - step, rtol=1e-4, atol=1e-6, err_msg=variable.path)
    again = kr.optimizers.SGD.from_config(model.optimizer.get_config())
    assert (again.bias_rate, again.decay) == (2.0, "weights")


def test_schedules_of_segmentation():
    # papers.md 5.5: 0.0016 for 140 epochs, then 0.0008, in a straight line to 0, for 64.
    rate = kr.recipes.get("wu").rate(10)
    found = [float(rate(step)) for step in (0, 1399, 1400, 1720, 2039, 2040)]
    np.testing.assert_allclose(found, [0.0016, 0.0016, 0.0008, 0.0004, 0.0008 / 640, 0], atol=1e-9)
    assert Held.from_config(rate.get_config()).get_config() == rate.get_config()
    poly = kr.recipes.Recipe("poly", epochs=10, schedule="poly", learning_rate=0.2).rate(10)
    assert float(poly(50)) == pytest.approx(0.2 * 0.5**0.9)


def test_overlay_mixes_colours_with_the_image():
    image = np.array([[[0.0], [1.0], [0.5]]])
    picture = kr.segmentation.overlay(image, np.array([[1, 0, 255]]), np.array([[0, 0, 250], [250, 0, 0]]), 0.4)
    np.testing.assert_array_equal(picture[0], [[100, 0, 0], [153, 153, 253], [128, 128, 128]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kr.segmentation.PixelLoss(1.5), "hardest must be a probability between 0 and 1"),
        (lambda: kr.segmentation.PixelLoss(at="middle"), "at must be one of"),
        (lambda: kr.segmentation.fcn("resnet18", 5, "3conv"), "head must be one of"),
        (lambda: kr.segmentation.fcn(keras.applications.MobileNetV2(alpha=0.35, weights=None), 5), "must end in a map"),
        (lambda: kr.segmentation.score(np.zeros((3, 3))), "confusion must have pixels"),
        (lambda: pixel_metrics.confusion_matrix(np.array([9]), np.array([0]), 3), "labels must be from 0 to 2, or 255"),
        (lambda: prediction.probabilities(None, np.zeros((3, 3))), "images must be"),
        (lambda: prediction.probabilities(None, np.zeros((1, 3, 3, 3)), scales=()), "scales must be one or more"),
        (lambda: prediction.probabilities(None, np.zeros((1, 3, 3, 3)), overlap=1), "overlap must be a share"),
        (lambda: kr.optimizers.SGD(0.1, bias_rate=0), "bias_rate must be a positive number"),
        (lambda: kr.recipes.Recipe("r", epochs=3, schedule="held"), "boundaries must be one with schedule='held'"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
