"""`Family`: how a family of public weight files names and stores the variables of our networks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive, Tensor
from keras_resnets.weights.roles import Role

# ImageNet's mean and standard deviation in torchvision and in Wu et al. 2016's code (`iclass/ilsvrc.py`).
TORCH_PREPROCESSING = Preprocessing(
    tuple(255 * value for value in (0.485, 0.456, 0.406)), tuple(255 * value for value in (0.229, 0.224, 0.225))
)


class Contents(Mapping[str, Tensor]):
    """The tensors of a network in an archive, by their names in the network's own code.

    Args:
        archive: the archive.
        prefix: prefix of these names in the archive, such as `"state_dict.module."`.
        others: prefixes of the archive's other networks.
    """

    def __init__(self, archive: Archive, prefix: str = "", others: Collection[str] = ()):
        self.archive = archive
        # Some files have the parameters in one dictionary, and the moving statistics in another.
        roots = dict.fromkeys((prefix, re.sub(r"params\.$", "stats.", prefix)))
        within = tuple(other for other in others if other.startswith(prefix) and other != prefix)
        self.full = {
            name[len(root) :]: name
            for root in roots
            for name in archive
            if name.startswith(root) and not (within and name.startswith(within))
        }

    def __getitem__(self, name: str) -> Tensor:
        return self.archive[self.full[name]]

    def __iter__(self):
        return iter(self.full)

    def __len__(self) -> int:
        return len(self.full)

    def kernel_shape(self, name: str | None) -> tuple[int, ...] | None:
        """Returns the shape of a kernel; None if the name is missing, or is not a kernel's."""
        shape = self[name].shape if name and name in self.full else ()
        return shape if len(shape) in (2, 4) else None


@dataclass(frozen=True)
class Source:
    """The tensors of a file that a variable's value is computed from.

    Args:
        names: names in the file, without the prefix; empty for a constant value.
        shapes: the shape that each of these tensors must have.
        convert: computes the variable's value from their arrays.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    convert: Callable[..., np.ndarray] = lambda value: value

    def then(self, change: Callable[[np.ndarray], np.ndarray]) -> Source:
        """Returns a source with one more function applied to its value."""
        convert = self.convert
        return dataclasses.replace(self, convert=lambda *values: change(convert(*values)))


@dataclass(frozen=True)
class Family:
    """A family of weight files.

    Args:
        name: the family's name.
        kinds: kinds of archive in which its files occur.
        marks: names that occur in all of its files, with a common prefix.
        names: returns the possible names of a variable in a file, given its role and the spec, the likeliest first.
        variants: returns the possible networks of a file, judged by its names; its shapes give the blocks, widths,
            classes and input channels.
        needs: fields that a spec must have to compute what the file's network computes.
        settings: fields that the weights were trained with, and that change no shape.
        outputs_first: whether kernels are stored as (outputs, inputs, height, width), and those of dense layers as
            (outputs, inputs).
        classifier: pattern of the names of the classifier's tensors, which a backbone ignores.
        ignored: pattern of the names of tensors that our networks do not have.
        preprocessing: the preprocessing that the weights need; None if unknown.
        by_classes: the same for a number of classes, with what is to be said of it, for networks whose publishers
            trained them on one set of each number; another number's is not known then.
        revise: corrects the source of a variable, for folded biases or channels in another order.
        fields: returns further fields of the spec that a file determines, such as those of its head.
        refusal: why no network of a spec can be filled, and the remedy.
        untold: fields of `needs` that no file tells: another value may be that of a network with the same names and
            shapes, and is taken from a caller who gives it.
        known: pattern of all names that the family's networks have; empty if their kin have other marks.
        archs: pattern of what a checkpoint calls networks of the family, where it says so.
        sides: height and width of the kernels of some of the marks, where families with the same names differ in them.
        asks: what neither names nor shapes tell of the network, so that the caller has to name the variant.
    """

    name: str
    kinds: tuple[str, ...]
    marks: tuple[str, ...]
    names: Callable[[Role, Spec], tuple[str, ...]] = lambda role, spec: ()
    variants: Callable[[Contents], list[Spec]] = lambda contents: []
    needs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    outputs_first: bool = True
    classifier: str = ""
    ignored: str = ""
    preprocessing: Preprocessing | None = None
    by_classes: Mapping[int, tuple[Preprocessing | None, str]] = field(default_factory=dict)
    revise: Callable[[Role, Source, Spec, Contents], Source] | None = None
    fields: Callable[[Contents], dict[str, Any]] = lambda contents: {}
    refusal: str = ""
    untold: tuple[str, ...] = ()
    known: str = ""
    archs: str = ""
    sides: Mapping[str, int] = field(default_factory=dict)
    asks: str = ""

    def prefixes(self, archive: Archive) -> list[str]:
        """Returns the prefixes under which an archive has networks with the marks of the family."""
        if archive.kind not in self.kinds:
            return []
        mark = self.marks[0]
        candidates = [name.removesuffix(mark) for name in archive if name.endswith(mark)]
        found = [prefix for prefix in candidates if all(prefix + other in archive for other in self.marks)]
        sides = self.sides.items()
        return [p for p in found if all(archive[p + name].shape[2:] == (side, side) for name, side in sides)]

    def heads(self, contents: Contents) -> list[str]:
        """Returns the names in a file of a classifier's tensors, known or not, without the prefix."""
        return [name for name in contents if self.classifier and re.fullmatch(self.classifier, name)]

    def name_of(self, role: Role, spec: Spec, contents: Contents) -> str | None:
        """Returns a variable's name in a file, else its likeliest name; None if the family has no such variable."""
        names = self.names(role, spec)
        return next((name for name in names if name in contents), names[0] if names else None)

    def source(self, role: Role, shape: tuple[int, ...], spec: Spec, contents: Contents) -> Source | None:
        """Returns the source of a variable of a network; None if the family has no such variable."""
        name = self.name_of(role, spec, contents)
        if name is None:
            return None
        source = Source((name,), (shape,))
        if self.outputs_first and role.variable == "kernel":
            stored, axes = ((3, 2, 0, 1), (2, 3, 1, 0)) if len(shape) == 4 else ((1, 0), (1, 0))
            source = Source((name,), (tuple(shape[axis] for axis in stored),), lambda value: value.transpose(axes))
        return self.revise(role, source, spec, contents) if self.revise else source

    def differing(self, spec: Spec, given: Collection[str] = ()) -> dict[str, Any]:
        """Returns the fields of a spec that differ from the family's, with the family's values.

        Args:
            spec: the spec.
            given: fields in which the caller's word counts where no file tells them.
        """
        expected = {**self.needs, **self.settings}
        told = set(given) & set(self.untold)
        return {
            key: value
            for key, value in expected.items()
            if key not in told and getattr(spec, key) != value and _matters(spec, key)
        }

    def prepares(self, channels: int | None, classes: int | None = None) -> tuple[Preprocessing | None, str]:
        """Returns the preprocessing that a file's weights need, None if it is not known, and what is to be said of it.

        Args:
            channels: of the network's images.
            classes: of the file's own classifier; None without one.
        """
        own, said = self.preprocessing, "preprocessing not known: it differs between projects" if self.asks else ""
        if self.by_classes:
            counts = " or ".join(map(str, self.by_classes))
            unknown = f"preprocessing not known: {self.name} are published for {counts} classes"
            own, said = self.by_classes.get(classes or 0, (None, unknown))
        if own is not None and not own.fits(channels):
            return None, f"preprocessing not known: that of {self.name} is not for {channels} channels"
        return own, said


def _matters(spec: Spec, key: str) -> bool:
    """Whether a field affects the network of a spec."""
    if key == "stride_place":
        return any(stage.stride > 1 and stage.kernels[0] == 1 for stage in spec.stages)
    if key == "dilation_rule":
        return spec.total_stride < spec.strides[-1]
    if key == "pool_padding":
        return any(stage.pool for stage in spec.stages)
    return key != "head_dilation" or spec.is_dense


def torch_name(layer: str, variable: str) -> str:
    """Returns a variable's name in the state dict of a torch module."""
    names = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    return f"{layer}.{names.get(variable, variable)}"
