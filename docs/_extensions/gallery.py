"""How sphinx-gallery shows the scripts of examples/: with which options they run, and the figures that they write."""

import re
import shlex
import shutil
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "docs" / "_build" / "runs"

# Options of the scripts that are run, for some minutes in all, in the order of the pages.
OPTIONS = {
    "lesion_study": "--network preresnet20 --epochs 6",
    "skip_removal": "--network preresnet20 --epochs 6",
    "paths": "--network preresnet20 --epochs 4",
    "grad_cam": "--epochs 3",
    "segmentation": "--tiny --epochs 5",
    "width_or_depth": "--epochs 3 --trials 6",
    "export_and_serve": "--tiny",
    "backbone": "--tiny",
    "custom_network": "",
}
# Why the others are not.
SHOWN = {
    "dissect_resnet50": "it needs a folder of pictures, and the weights of ImageNet",
    "train_cifar10": "it takes hours, and needs CIFAR-10",
}
# Beside `--out`, which this one does not have.
WRITES_NOTHING = {"backbone"}


class Order:
    """Sorts the scripts as they stand above."""

    def __init__(self, folder):
        self.names = [*OPTIONS, *SHOWN]

    def __call__(self, file):
        return self.names.index(Path(file).stem)


def options(gallery_conf, script_vars):
    """What a script finds in `sys.argv`: its options, and a folder of its own to write to."""
    name = Path(script_vars["src_file"]).stem
    return shlex.split(OPTIONS.get(name, "")) + ([] if name in WRITES_NOTHING else ["--out", str(RUNS / name)])


SEEN = {}


def written(block, block_vars, gallery_conf):
    """Shows each PNG file that a cell wrote."""
    shown = []
    for file in sorted((RUNS / Path(block_vars["src_file"]).stem).rglob("*.png")):
        stamp = file.stat().st_mtime_ns
        if SEEN.get(file) != stamp:
            SEEN[file] = stamp
            shown.append(next(block_vars["image_path_iterator"]))
            shutil.copyfile(file, shown[-1])
    return figure_rst(shown, gallery_conf["src_dir"])


def fresh(gallery_conf, name):
    """Removes what a script wrote in an earlier build, for it would find its work done and say nothing of it."""
    shutil.rmtree(RUNS / Path(name).stem, ignore_errors=True)


# What stands first in each notebook.
FIRST_CELL = """\
# Options of the script, as in a shell: ["--tiny"] is quick; [] takes the time that the text says.
import sys

sys.argv[1:] = ["--tiny"]"""

# Functions by name: Sphinx keeps the settings, to see whether they have changed.
CONFIG = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": "/(" + "|".join(OPTIONS) + r")\.py",
    "image_scrapers": ("gallery.written",),
    "reset_argv": "gallery.options",
    "reset_modules": ("matplotlib", "gallery.fresh"),
    "within_subsection_order": "gallery.Order",
    "first_notebook_cell": FIRST_CELL,
    "default_thumb_file": str(ROOT / "docs" / "_static" / "logo.svg"),
    "capture_repr": (),
    "download_all_examples": False,
    "write_computation_times": False,
    # So that pages of the reference name the examples that use what they are about.
    "backreferences_dir": "gallery/used",
    "doc_module": ("keras_resnets",),
    "reference_url": {"keras_resnets": None},
    "copyfile_regex": r".*\.json",
}


def say_how(app, docname, text):
    """Adds to a script's page with which options it was run; what it wrote lies in another place than for a reader."""
    folder, _, name = docname.partition("/")
    if folder == "gallery" and name in OPTIONS:
        command = f"python examples/{name}.py {OPTIONS[name]}".rstrip()
        said = f"What stands below was printed and drawn by `{command}`."
    elif folder == "gallery" and name in SHOWN:
        said = f"This script was not run for this page: {SHOWN[name]}."
    else:
        return
    text[0] = text[0].replace(f"{RUNS}/{name}", f"runs/{name}")
    text[0] = re.sub(
        r"^Command: `.*`$", lambda match: f"{match[0]}\n\n.. note:: {said}", text[0], count=1, flags=re.MULTILINE
    )


def setup(app):
    app.config.sphinx_gallery_conf = CONFIG
    app.connect("source-read", say_how)
    return {"parallel_read_safe": True}
