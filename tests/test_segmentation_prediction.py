"""Answers for whole images, padded, flipped, scaled and by windows, and pictures of them."""

import keras
import numpy as np
import pytest
from helpers.pixels import some_labels
from sklearn import metrics as sklearn_metrics

import keras_resnets as kr

RNG = np.random.default_rng(0)


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


def test_overlay_mixes_colours_with_the_image():
    image = np.array([[[0.0], [1.0], [0.5]]])
    picture = kr.segmentation.overlay(image, np.array([[1, 0, 255]]), np.array([[0, 0, 250], [250, 0, 0]]), 0.4)
    np.testing.assert_array_equal(picture[0], [[100, 0, 0], [153, 153, 253], [128, 128, 128]])


def test_pictures_have_a_legend_of_the_classes_in_them():
    colors, names = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200]]), ["ground", "cat", "dog", "cow"]
    image, labels = np.full((2, 2, 1), 0.5), np.array([[0, 1], [255, 3]])
    image[0, 0], image[1, 1] = 1, 0
    figure = kr.segmentation.draw([image], [labels], [labels.T], colors, names)
    plain, truth, answer = (axes.images[0].get_array() for axes in figure.axes)
    assert plain[0, 0].tolist() == truth[0, 0].tolist() == [255, 255, 255], "the background is as it is"
    assert (truth[0, 1].tolist(), answer[1, 0].tolist()) == ([164, 64, 64], [164, 64, 64])
    assert truth[1, 0].tolist() == plain[1, 0].tolist(), "a pixel without a class"
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["ground (not coloured)", "cat", "cow"]
    assert legend.get_patches()[2].get_facecolor()[:3] == pytest.approx((0, 0, 200 / 255))


def test_pictures_of_large_images_are_large():
    wide = np.zeros((200, 400, 3))
    figure = kr.segmentation.draw(
        [wide] * 2, [wide[..., 0].astype(int)] * 2, [wide[..., 0].astype(int)] * 2, [[9] * 3], "a"
    )
    assert tuple(figure.get_size_inches() * 100) == (1200, 450)
