"""`Family`: how a family of public weight files names and lays out what our networks have."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.archives.archive import Archive, Tensor
from keras_resnets.errors import ArgumentError
from keras_resnets.weights.roles import Role

# What training scripts wrap a network, or what they save of it, in.
_WRAPPERS = re.compile(r"((module|model|net|network|state_dict|model_state_dict|params)\.)*")

# ImageNet's mean and deviation, of torchvision and of Wu et al. 2016's code (`iclass/ilsvrc.py`) alike.
TORCH_PREPROCESSING = Preprocessing(
    tuple(255 * value for value in (0.485, 0.456, 0.406)), tuple(255 * value for value in (0.229, 0.224, 0.225))
)


class Contents(Mapping[str, Tensor]):
    """The tensors of a network in an archive, by the names that the network's own code has for them.

    Args:
        archive: the archive.
        prefix: what stands in front of these names, such as `"state_dict.module."`.
    """

    def __init__(self, archive: Archive, prefix: str = ""):
        self.archive = archive
        # Where the parameters are a dictionary of their own, the moving statistics may be another.
        roots = dict.fromkeys((prefix, re.sub(r"params\.$", "stats.", prefix)))
        self.full = {name[len(root) :]: name for root in roots for name in archive if name.startswith(root)}

    def __getitem__(self, name: str) -> Tensor:
        return self.archive[self.full[name]]

    def __iter__(self):
        return iter(self.full)

    def __len__(self) -> int:
        return len(self.full)

    def kernel(self, name: str | None) -> tuple[int, ...] | None:
        """Returns the shape of a kernel; None where the name is of nothing, or of something else."""
        shape = self[name].shape if name and name in self.full else ()
        return shape if len(shape) in (2, 4) else None


@dataclass(frozen=True)
class Source:
    """Where a variable's value comes from.

    Args:
        names: names in the file, without the prefix; none where the value is known.
        shapes: the shape that each must have.
        convert: makes the variable's value of their arrays.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    convert: Callable[..., np.ndarray] = lambda value: value

    def then(self, change: Callable[[np.ndarray], np.ndarray]) -> Source:
        """Returns the source with its value changed once more."""
        convert = self.convert
        return dataclasses.replace(self, convert=lambda *values: change(convert(*values)))


@dataclass(frozen=True)
class Family:
    """A family of weight files.

    Args:
        name: the family's name.
        kinds: kinds of archive that it comes in.
        marks: names that are in each of its files, behind one prefix.
        names: the names that a variable may have in a file, by its role in a network of a spec, the likeliest first.
        variants: the networks that a file may be of, so far as its names tell; blocks, widths, classes and input
            channels are read from its shapes.
        needs: fields of the spec that make the network the file's.
        settings: fields of the spec that the numbers were trained with, and that change no shape.
        outer: whether kernels are stored as (outputs, inputs, height, width), and dense ones as (outputs, inputs).
        classifier: pattern of the names of what gives scores, which a backbone leaves.
        left: pattern of the names of tensors that no network of ours has.
        preprocessing: what the weights call for; None where that is not known.
        revise: what a file has otherwise than its names say: folded biases, channels in another order.
        fields: further fields of the spec that a file tells, such as those of its head.
        refusal: why no network that is made from a spec can be filled, and the remedy.
    """

    name: str
    kinds: tuple[str, ...]
    marks: tuple[str, ...]
    names: Callable[[Role, Spec], tuple[str, ...]] = lambda role, spec: ()
    variants: Callable[[Contents], list[Spec]] = lambda contents: []
    needs: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    outer: bool = True
    classifier: str = ""
    left: str = ""
    preprocessing: Preprocessing | None = None
    revise: Callable[[Role, Source, Spec, Contents], Source] | None = None
    fields: Callable[[Contents], dict[str, Any]] = lambda contents: {}
    refusal: str = ""

    def contents(self, archive: Archive) -> Contents | None:
        """Returns the tensors of the network, where the archive is of this family; None elsewhere."""
        if archive.kind not in self.kinds:
            return None
        mark = self.marks[0]
        prefixes = [name.removesuffix(mark) for name in archive if name.endswith(mark)]
        found = [
            prefix
            for prefix in prefixes
            if _WRAPPERS.fullmatch(prefix) and all(prefix + other in archive for other in self.marks)
        ]
        if len(found) > 1:
            raise ArgumentError(
                f"{str(archive.path)!r} holds {len(found)} networks, under {' and '.join(map(repr, sorted(found)))}; "
                f"keep one of them in a file of its own."
            )
        return Contents(archive, found[0]) if found else None

    def name_of(self, role: Role, spec: Spec, contents: Contents) -> str | None:
        """Returns a variable's name in a file, or the likeliest where the file has none; None where none has."""
        names = self.names(role, spec)
        return next((name for name in names if name in contents), names[0] if names else None)

    def source(self, role: Role, shape: tuple[int, ...], spec: Spec, contents: Contents) -> Source | None:
        """Returns where a variable of a network comes from; None where the family has nothing like it."""
        name = self.name_of(role, spec, contents)
        if name is None:
            return None
        source = Source((name,), (shape,))
        if self.outer and role.variable == "kernel":
            stored, axes = ((3, 2, 0, 1), (2, 3, 1, 0)) if len(shape) == 4 else ((1, 0), (1, 0))
            source = Source((name,), (tuple(shape[axis] for axis in stored),), lambda value: value.transpose(axes))
        return self.revise(role, source, spec, contents) if self.revise else source

    def differing(self, spec: Spec) -> dict[str, Any]:
        """Returns the fields in which a spec is not as the family has it, with the values that they need."""
        wanted = {**self.needs, **self.settings}
        return {key: value for key, value in wanted.items() if getattr(spec, key) != value and _matters(spec, key)}


def _matters(spec: Spec, key: str) -> bool:
    """Whether a field makes a difference in a network."""
    if key == "stride_place":
        return any(stage.stride > 1 and stage.kernels[0] == 1 for stage in spec.stages)
    if key == "dilation_rule":
        return spec.total_stride < spec.strides[-1]
    if key == "pool_padding":
        return any(stage.pool for stage in spec.stages)
    return key != "head_dilation" or spec.is_dense


def torch_name(layer: str, variable: str) -> str:
    """Returns a variable's name in the state of a torch module."""
    names = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    return f"{layer}.{names.get(variable, variable)}"
