"""Batches that can be read in any order: their parts, and what is made of them, beside the arrays they come from."""

import numpy as np
import pytest
from helpers.image_batches import arrays, raw_digits, streamed

from keras_resnets.data.indexed import Arrays, Pictures
from keras_resnets.data.passes import Batches, first_of, joined, mapped, unlabelled

pytestmark = pytest.mark.backends


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    return Arrays(rng.normal(size=(23, 4, 5, 2)).astype("float32"), np.arange(23))


def _same(batches, sizes, images, labels):
    found = list(batches)
    assert [len(x) for x, _ in found] == sizes == list(batches.sizes)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), images)
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), labels)


def test_examples_keep_their_order_and_labels_in_other_batches(split):
    batches, x, y = split.batches(7), split.images, split.labels
    _same(batches, [7, 7, 7, 2], x, y)
    for size in (1, 3, 7, 10, 23, 100):
        sizes = [size] * (23 // size) + [23 % size] * (23 % size > 0)
        _same(batches.rebatch(size), sizes, x, y)
        for few in (1, 5, 7, 8, 22, 23, 40):
            _same(
                batches.first(few).rebatch(size),
                [len(y[:few][i : i + size]) for i in range(0, min(few, 23), size)],
                x[:few],
                y[:few],
            )
    _same(batches.take(2), [7, 7], x[:14], y[:14])
    _same(joined([batches, split.batches(20)]), [7, 7, 7, 2, 20, 3], np.tile(x, (2, 1, 1, 1)), np.tile(y, 2))
    _same(mapped(batches, lambda images: 2 * images), [7, 7, 7, 2], 2 * x, y)
    # In any order, and no farther.
    np.testing.assert_array_equal(batches[2][1], y[14:21])
    with pytest.raises(IndexError, match="There are 4 batches, from 0; got 4"):
        batches[4]


def test_what_tf_data_has_is_found_there(split):
    with pytest.raises(
        AttributeError, match=r"no attribute 'map'; stream\(\) gives these batches as tf.data, which has"
    ):
        split.batches(7).map(lambda x, y: x)
    with pytest.raises(AttributeError, match=r"no attribute 'mop'\.$"):
        split.batches(7).mop  # noqa: B018


def test_labels_can_be_left_out(split):
    bare = unlabelled(split.batches(7))
    for batches in (bare, bare.rebatch(10), bare.first(12), mapped(bare, lambda x: x)):
        assert all(y is None for _, y in batches)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in bare.rebatch(10)]), split.images)


def test_each_pass_is_another_epoch_where_it_is_to_be():
    batches = Batches([2, 2], lambda number: (np.full(2, number), np.full(2, -number)), turning=True)
    assert [[int(x[0]) for x, _ in batches] for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert [int(x[0]) for x, _ in batches.take(1)] == [0]
    fixed = Batches([2, 2], batches._read)
    assert [[int(x[0]) for x, _ in fixed] for _ in range(2)] == [[0, 1], [0, 1]]


def test_pictures_are_read_by_number_and_each_with_its_own_draws():
    reads = []

    def get(number):
        reads.append(number)
        return np.full((2, 3, 1), number, "uint8"), number

    def trained(picture, random):
        return picture + random.integers(100, 200, picture.shape)

    pictures = Pictures(9, get, np.arange(9), lambda picture: picture + 50, trained)
    images, labels = pictures.take(np.array([8, 2])).read(np.array([1, 0]))
    assert (labels.tolist(), images[:, 0, 0, 0].tolist(), sorted(reads)) == ([2, 8], [52, 58], [2, 8])
    one, _ = pictures.read(np.array([3, 4]), (5, 6))
    again, _ = pictures.read(np.array([4]), (5, 6))
    np.testing.assert_array_equal(one[1], again[0])  # whatever else is in the batch
    assert (one != pictures.read(np.array([3, 4]), (5, 7))[0]).any()


def test_tf_data_and_batches_are_told_apart_and_joined():
    pytest.importorskip("tensorflow")
    data = raw_digits()
    read, stream = data.test, streamed(data).test
    images, labels = arrays(read)
    for one, other in ((read, stream), (stream, read)):
        found, numbers = arrays(joined([one, other]))
        np.testing.assert_array_equal(found, np.tile(images, (2, 1, 1, 1)))
        np.testing.assert_array_equal(numbers, np.tile(labels, 2))
    for given in (read, stream):
        assert [len(y) for _, y in first_of(given, 130)] == [100, 30]
        np.testing.assert_array_equal(arrays(mapped(given, lambda x: x + 1))[0], images + 1)
    bare = [batch if isinstance(batch, np.ndarray) else batch[0] for batch in unlabelled(stream).as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate(bare), images)
    np.testing.assert_array_equal(np.concatenate(list(unlabelled(read).stream().as_numpy_iterator())), images)
