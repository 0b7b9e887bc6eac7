"""What wrong calls are made with, and what is asked of the sentence that each of them gets."""

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

PACKAGE = Path(kr.__file__).parents[1]
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}

HOLDER = """
import sys
from keras_resnets.runs import Run
with Run(sys.argv[1], {"seed": 0}):
    print("held", flush=True)
    sys.stdin.read()
"""


def train(place, **changes):
    arguments = {"network": "resnet8", "data": "digits", "out": place.new / "out", "epochs": 1, "verbose": 0}
    return kr.train(**{**arguments, **changes})


class Place:
    """Networks, good and bad files, run directories, one of them in use: each is made when a call first asks for it.

    Nothing that a call is pointed at may be another afterwards, and nothing may lie at `new`.
    """

    def __init__(self, root):
        self.root, self.new = root, root / "new"
        self.spec = kr.Spec("tiny", (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 5, stem_width=4)
        self.x, self.y = np.zeros((4, 8, 8, 1), "float32"), np.zeros(4, "int32")
        self._holder = None

    def __getitem__(self, name):
        """So that a command's arguments are filled in by `format_map`."""
        return getattr(self, name)

    @functools.cached_property
    def tiny(self):
        return kr.build(self.spec)

    @functools.cached_property
    def plain(self):
        return kr.build(self.spec, shortcut="none")

    @functools.cached_property
    def dense(self):
        source = keras.Input((4,))
        return keras.Model(source, keras.layers.Add()([source, keras.layers.Dense(4)(source)]), name="dense")

    @functools.cached_property
    def small(self):
        file = self.root / "tiny.keras"
        self.tiny.save(file)
        return file

    @functools.cached_property
    def regular(self):
        file = self.root / "regular"
        file.write_text("a file, not a folder")
        return file

    @functools.cached_property
    def garbage(self):
        file = self.root / "garbage.keras"
        file.write_bytes(b"no zip file")
        return file

    @functools.cached_property
    def hollow(self):
        file = self.root / "hollow.keras"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("config.json", "{}")
        return file

    @functools.cached_property
    def run(self):
        train(self, out=self.root / "run")
        return self.root / "run"

    @functools.cached_property
    def torn(self):
        run = shutil.copytree(self.run, self.root / "torn")
        (run / "run.json").write_text((self.run / "run.json").read_text()[:100])
        for kept in ("checkpoints", ".sums"):  # from which it would be written anew
            shutil.rmtree(run / kept)
        return run

    @functools.cached_property
    def cut(self):
        """As after a crash of the machine: not finished, and only the first half of the checkpoint on disk."""
        record = json.loads((self.run / "run.json").read_text())
        run = shutil.copytree(self.run, self.root / "cut")
        (run / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k != "results"}))
        shutil.rmtree(run / ".sums")
        last = run / "checkpoints" / "last.safetensors"
        last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
        return run

    @functools.cached_property
    def foreign(self):
        folder = self.root / "foreign"
        folder.mkdir()
        (folder / "thesis.tex").write_text("precious")
        return folder

    @functools.cached_property
    def images(self):
        folder = self.root / "images"
        for kind in ("cat", "dog"):
            (folder / kind).mkdir(parents=True)
            for i in range(5):
                pixels = np.full((8, 8, 3), 20 * i)
                keras.utils.save_img(folder / kind / f"{i}.png", pixels, "channels_last", scale=False)
        (folder / "dog" / "bad.png").write_bytes(b"no image")
        return folder

    @functools.cached_property
    def bare(self):
        folder = self.root / "bare"
        (folder / "cat").mkdir(parents=True)
        (folder / "cat" / "notes.txt").write_text("no image")
        return folder

    @functools.cached_property
    def held(self):
        """A run directory that another process is in."""
        self._holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, self.root / "held"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=PACKAGE,
        )
        assert self._holder.stdout.readline() == "held\n"
        return self.root / "held"

    def unharmed(self):
        """Demands that what calls were pointed at is as it was."""
        made = vars(self)
        if "foreign" in made:
            assert (self.foreign / "thesis.tex").read_text() == "precious"
            assert sorted(p.name for p in self.foreign.iterdir() if p.name != ".lock") == ["thesis.tex"]
        if "regular" in made:
            assert self.regular.read_text() == "a file, not a folder"
        if "run" in made:
            assert json.loads((self.run / "run.json").read_text())["asked"]["recipe"]["epochs"] == 1
            assert isinstance(kr.load_model(self.run), kr.ResidualNetwork)

    def release(self):
        if self._holder is not None:
            self._holder.communicate("")
            assert self._holder.returncode == 0


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """What wrong calls are made with; all calls of a process share it, and must leave it as it was."""
    place = Place(tmp_path_factory.mktemp("errors"))
    yield place
    place.release()
    place.unharmed()


def table(calls):
    """A test for each row: what is wrong, the call, the exception, and what its sentence must hold, in this order."""
    return pytest.mark.parametrize(("call", "kind", "parts"), [c[1:] for c in calls], ids=[c[0] for c in calls])


def assert_refused(call, kind, parts, place):
    """Demands one sentence with the argument, the rule, the value that came and the remedy, and nothing left behind."""
    with pytest.raises(kind) as caught:
        call(place)
    text = str(caught.value)
    assert (type(caught.value) is ArgumentError) == (kind is ArgumentError)
    assert "\n" not in text
    assert len(text) < 600
    assert text[-1] in ".?", "the sentence is cut off"
    position = 0
    for part in parts:
        assert part in text[position:], f"{part!r} is missing, or not in its place, in: {text}"
        position = text.index(part, position)
    assert not place.new.exists(), "a wrong call left something behind"


def filled(arguments, place):
    """A command line in which `{name}` stands for a path of the place."""
    return [argument.format_map(place) for argument in arguments]
