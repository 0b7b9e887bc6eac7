"""Predictions for pictures: read, resized and preprocessed as in training, from a network in any kind of file."""

import importlib.util
import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import shapes
from helpers.notices import told
from PIL import Image

import keras_resnets as kr
from keras_resnets.architecture.preprocessing import Resizing
from keras_resnets.errors import ArgumentError
from keras_resnets.network.probabilities import class_probabilities

ONNX = all(map(importlib.util.find_spec, ("onnx", "tf2onnx", "onnxruntime")))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of pictures of three classes, some of which need care, as training reads it."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    shapes.fill(folder / "train", 3)
    files = shapes.fill(folder / "test", 2, seed=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(files[0])
    picture.save(files[0].with_suffix(".jpg"), exif=exif.tobytes())
    picture.save(files[0].with_name("b.webp"))
    picture.convert("L").save(files[1])
    return kr.data.load(folder, image_size=16, validation=0, tell=lambda line: None)


@pytest.fixture(scope="module")
def model(data, scramble):
    """A network with what training gives it, whose answers differ from picture to picture."""
    stages = (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    model = scramble(kr.build(kr.Spec("tiny", stages, data.input_shape, 3, stem_width=4)))
    model.preprocessing, model.class_names = data.preprocessing, data.class_names
    return model


@pytest.fixture
def picture():
    return shapes.draw("cross", np.random.default_rng(5))


@pytest.mark.parametrize("normalize", ["channel", "pixel"])
def test_pictures_are_read_resized_and_preprocessed_as_in_training(normalize, data, model):
    data = data.batched(normalize=normalize)
    model.preprocessing = data.preprocessing
    answers = kr.predict(model, f"{data.name}/test", batch_size=3)
    expected = np.concatenate([model.predict_on_batch(x) for x, _ in data.test.as_numpy_iterator()])
    assert len(answers) == len(expected) == 8
    assert np.ptp(expected, axis=0).max() > 0.02
    found = np.array([answer.probabilities for answer in answers])
    # Training shuffles what a folder lists by name.
    np.testing.assert_allclose(np.sort(found, 0), np.sort(expected, 0), atol=1e-5)
    for answer in answers:
        best = answer.probabilities.argmax()
        assert (answer.name, answer.probability) == (shapes.CLASSES[best], answer.probabilities[best])
        assert [share for _, share in answer.top] == sorted(answer.probabilities, reverse=True)
    assert [answer.picture for answer in answers] == sorted(answer.picture for answer in answers)
    model.preprocessing = data.batched(normalize="channel").preprocessing


def _exported(model, tmp_path):
    """Writes the network in each format, with and without its preprocessing inside."""
    yield kr.export.saved_model(model, tmp_path / "net", calls=0, preprocessing=True)["path"]
    yield kr.export.litert(model, tmp_path / "net.tflite", calls=0, output="logits")["path"]
    if ONNX:
        yield kr.export.onnx(model, tmp_path / "net.onnx", calls=0, preprocessing=True)["path"]
    model.save(tmp_path / "net.keras")
    yield tmp_path / "net.keras"


def test_every_kind_of_file_gives_the_same_class_and_name(model, picture, tmp_path):
    (expected,) = kr.predict(model, picture)
    for path in _exported(model, tmp_path):
        with told():
            (answer,) = kr.predict(path, [picture])
        assert answer.name == expected.name
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-5)


def test_a_server_needs_neither_this_package_nor_a_resize_of_its_own(model, picture, tmp_path):
    kr.export.saved_model(model, tmp_path / "net", calls=0)
    picture.save(tmp_path / "a.png")
    picture.crop((0, 0, 40, 30)).save(tmp_path / "b.png")
    net = tf.saved_model.load(str(tmp_path / "net"))
    contents = tf.constant([(tmp_path / name).read_bytes() for name in ("a.png", "b.png")])
    served = net.signatures["serving_files"](image_bytes=contents)
    again = net.signatures["serving_pictures"](pictures=np.asarray(picture)[None])
    np.testing.assert_allclose(again["probabilities"], served["probabilities"][:1], atol=1e-6)
    for number, answer in enumerate(kr.predict(model, [tmp_path / "a.png", tmp_path / "b.png"])):
        assert served["name"][number].numpy().decode() == answer.name == shapes.CLASSES[served["class"][number]]
        np.testing.assert_allclose(served["probabilities"][number], answer.probabilities, atol=1e-5)


def test_a_network_of_one_channel_takes_pictures_in_grey_and_in_its_own_white(tmp_path, scramble):
    data = kr.data.load("digits")
    model = scramble(kr.build("resnet8", data.input_shape))
    model.preprocessing, model.class_names = data.preprocessing, data.class_names
    raw = kr.data.sources.digit_images()["test"][0][:4]
    expected = model.predict_on_batch(data.preprocessing(raw))
    with told():
        answers = kr.predict(model, raw)
    np.testing.assert_allclose([answer.probabilities for answer in answers], expected, atol=1e-6)
    # The same digits as pictures, whose white is 255 and not 16, and in other sizes.
    for number, image in enumerate(raw):
        Image.fromarray(np.round(image[..., 0] * (255 / 16)).astype("uint8")).save(tmp_path / f"{number}.png")
    answers = kr.predict(model, tmp_path)
    np.testing.assert_allclose([answer.probabilities for answer in answers], expected, atol=0.02)
    colours = shapes.draw("disc", np.random.default_rng(0))
    with told("Pictures in colour become grey"):
        (answer,) = kr.predict(model, colours)
    assert kr.predict(model, colours.convert("L"))[0].name == answer.name
    with pytest.raises(ArgumentError, match="images must go to 16, the white of this network's training images"):
        kr.predict(model, raw * 15)


def test_outputs_become_probabilities():
    logits = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for end in ("linear", None):
        np.testing.assert_allclose(class_probabilities(logits, end), softmax)
    for end in ("softmax", None):
        np.testing.assert_allclose(class_probabilities(softmax, end), softmax)
    one = np.array([[0.25], [0.5]])
    np.testing.assert_allclose(class_probabilities(one, "sigmoid"), [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_allclose(class_probabilities(np.log(one / (1 - one)), "linear", 2), [[0.75, 0.25], [0.5, 0.5]])
    several = np.array([[0.9, 0.8]])
    np.testing.assert_array_equal(class_probabilities(several, "sigmoid"), several)
    for scores, end, names in (
        (one, "linear", None),
        (one, "softmax", 2),
        (several, "relu", 2),
        (several[None], None, 2),
    ):
        with pytest.raises(ArgumentError, match=r"the network must end in"):
            class_probabilities(scores, end, names)


def test_damaged_pictures_are_named_and_the_others_predicted(model, picture, tmp_path):
    picture.save(tmp_path / "good.png")
    content = io.BytesIO()
    picture.save(content, "JPEG")
    # The second has its end, and nonsense before it.
    damaged = {"cut.jpg": content.getvalue()[:300], "torn.jpg": content.getvalue()[:200] + bytes(90) + b"\xff\xd9"}
    for name, there in damaged.items():
        (tmp_path / name).write_bytes(there)
    (tmp_path / "notes.txt").write_text("not a picture")
    with told("cut.jpg' is not an image", "torn.jpg' is not an image", "left out: 1 files ending in '.txt'"):
        cut, good, torn = kr.predict(model, tmp_path)
    assert (cut.name, torn.name, cut.top) == (None, None, ())
    assert "torn.jpg" in torn.error
    assert good.name == kr.predict(model, tmp_path / "good.png")[0].name
    with pytest.raises(ArgumentError, match=r"cut.jpg' is not an image .* \(Nor can the 1 others.\)"):
        kr.predict(model, [tmp_path / "cut.jpg", tmp_path / "torn.jpg"])


def test_what_is_not_known_is_asked_for(model, picture, tmp_path):
    bare = kr.build(model.spec)
    bare.set_weights(model.get_weights())
    with pytest.raises(ArgumentError, match=r"preprocessing: 'tiny' does not say .* \(--preprocessing '\{"):
        kr.predict(bare, picture)
    steps = model.preprocessing
    bare.preprocessing = kr.Preprocessing(steps.mean, steps.std)
    with pytest.raises(ArgumentError, match=r"brought to the network's \(16, 16\), and the picture given has"):
        kr.predict(bare, picture)
    # Of the network's size it needs no resizing.
    kr.predict(bare, picture.resize((16, 16)), class_names=shapes.CLASSES)
    expected = kr.predict(model, picture)[0]
    with told("'tiny' does not say what its classes are called"):
        answer = kr.predict(bare, picture, preprocessing={"resizing": {"crop": 0.875}}, top=1)[0]
    assert (answer.name, len(answer.top)) == (str(shapes.CLASSES.index(expected.name)), 1)
    np.testing.assert_array_equal(answer.probabilities, expected.probabilities)
    bare.preprocessing = None
    answer = kr.predict(bare, picture, preprocessing=steps, class_names=["x", "y", "z"])[0]
    assert answer.name == "xyz"[shapes.CLASSES.index(expected.name)]
    for how, sentence in (
        ({"class_names": ["x"]}, "class_names must be as many as the classes of 'tiny', 3; got 1"),
        ({"class_names": "xyz"}, "class_names must be a text for each class"),
        ({"preprocessing": {"crop": 1}}, "preprocessing has the fields .*; got 'crop'"),
        ({"preprocessing": {"resizing": {"cut": 1}}}, "preprocessing cannot be read"),
        ({"preprocessing": 3}, "preprocessing must be a keras_resnets.Preprocessing or its fields"),
        ({"top": 0}, "top must be a whole number of at least 1"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            kr.predict(model, picture, **how)
    for images, sentence in (
        (tmp_path / "no.png", "there is no file or folder"),
        ([], "at least one picture"),
        (np.zeros((2, 2)) + np.nan, "finite numbers"),
        (np.zeros((9, 9, 3)), r"the network's shape \(16, 16, 3\)"),
        (3, "images must be paths of pictures or of folders"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            kr.predict(model, images)
    (tmp_path / "net.tflite").write_bytes(b"no network")
    for source, sentence in (
        (tmp_path / "net.tflite", "cannot be opened as litert"),
        (tmp_path / "no.onnx", "There is no file"),
        (keras.layers.Dense(2), "source must be a run directory"),
        (kr.segmentation.fcn(model.spec.replace(head_width=4), 3), "For a class of each pixel"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            kr.predict(source, picture)


def test_resizing_may_say_the_size_of_a_network_for_any(model, picture):
    spec = model.spec.replace(input_shape=(None, None, 3))
    free = kr.build(spec)
    free.set_weights(model.get_weights())
    free.preprocessing = model.preprocessing
    with pytest.raises(ArgumentError, match="the network takes images of any size"):
        kr.predict(free, picture)
    answer = kr.predict(free, picture, preprocessing={"resizing": {"size": [16, 16]}}, class_names=shapes.CLASSES)[0]
    np.testing.assert_allclose(answer.probabilities, kr.predict(model, picture)[0].probabilities, atol=1e-6)
    free.preprocessing = kr.Preprocessing(resizing=Resizing(size=(16, 12)))
    assert len(kr.predict(free, [picture, picture.rotate(90)], class_names=shapes.CLASSES)) == 2


def test_the_command_prints_names_or_json_and_says_what_it_cannot_read(model, picture, tmp_path, capsys):
    from keras_resnets.commands import cli

    bare = kr.build(model.spec)
    bare.set_weights(model.get_weights())
    bare.save(tmp_path / "bare.keras")
    model.save(tmp_path / "net.keras")
    (tmp_path / "a").mkdir()
    picture.save(tmp_path / "a" / "one.png")
    expected = kr.predict(model, picture)[0]
    assert cli.main(["predict", str(tmp_path / "net.keras"), str(tmp_path / "a"), "--top", "2"]) == 0
    said = capsys.readouterr()
    top = ", ".join(f"{name} {share:.1%}" for name, share in expected.top[:2])
    assert (said.out, said.err) == (f"{tmp_path / 'a' / 'one.png'}: {top}\n", "")

    # A network that says nothing, with all of it given; and a picture that is none.
    (tmp_path / "names.txt").write_text("Balken\nKreuz\nScheibe\n")
    (tmp_path / "steps.json").write_text(json.dumps(model.preprocessing.to_dict()))
    (tmp_path / "a" / "torn.png").write_bytes(b"no picture")
    how = ["--class-names", str(tmp_path / "names.txt"), "--preprocessing", str(tmp_path / "steps.json"), "--json"]
    assert cli.main(["predict", str(tmp_path / "bare.keras"), str(tmp_path / "a"), *how]) == 1
    said = capsys.readouterr()
    assert "torn.png' is not an image that can be read" in said.err
    one, torn = json.loads(said.out)
    assert one["class"] == {"bars": "Balken", "cross": "Kreuz", "disc": "Scheibe"}[expected.name]
    assert one["probability"] == one["top"][0]["probability"] == pytest.approx(expected.probability)
    assert torn.keys() == {"picture", "error"}
    for wrong in ("{", "[1]", "none.json"):
        assert cli.main(["predict", str(tmp_path / "bare.keras"), str(tmp_path / "a"), "--preprocessing", wrong]) == 2
