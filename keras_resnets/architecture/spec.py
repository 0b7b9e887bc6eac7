"""`Spec` and `Stage`: a residual network as plain, frozen data. Standard library only."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from keras_resnets.architecture import unit
from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.explaining import explained, made_of
from keras_resnets.showing import Shown

# The possible ends of a network.
HEADS = ("classifier", "1conv", "2conv")


@explained
@dataclass(frozen=True)
class Stage:
    """Consecutive blocks of the same shape at one resolution.

    Args:
        blocks: number of blocks.
        widths: output channels of each convolution of a block, so `(64, 64)` is a basic block and
            `(64, 64, 256)` a bottleneck; the last one is the width of the stage.
        kernels: kernel size of each convolution of a block.
        stride: down-sampling factor of the stage's first block.
        pool: window of a stride-2 max-pool before the stage; 0 for none.
        dilation: dilation of the convolutions with a kernel larger than 1, whatever the output stride.
        dropout: rate before a block's last convolution; None takes the spec's rate.
    """

    blocks: int
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 3)
    stride: int = 1
    pool: int = 0
    dilation: int = 1
    dropout: float | None = None

    def __post_init__(self) -> None:
        whole_number("Stage.blocks", self.blocks, 1)
        for field in ("widths", "kernels"):
            values = getattr(self, field)
            if not isinstance(values, tuple) or not values:
                raise ArgumentError(f"Stage.{field} must be a non-empty tuple of whole numbers; got {values!r}.")
            for value in values:
                whole_number(f"Stage.{field}", value, 1)
        if len(self.widths) != len(self.kernels):
            raise ArgumentError(
                f"Stage.widths and Stage.kernels need one entry for each convolution of the block; "
                f"got {self.widths!r} and {self.kernels!r}."
            )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ArgumentError(f"Stage.kernels must be odd, so that padding is symmetric; got {self.kernels!r}.")
        whole_number("Stage.stride", self.stride, 1)
        whole_number("Stage.dilation", self.dilation, 1)
        one_of("Stage.pool", self.pool, (0, 2, 3))
        if self.dropout is not None:
            number("Stage.dropout", self.dropout, least=0, below=1)


@explained
@dataclass(frozen=True)
class Spec(Shown):
    """The complete description of a network's layers; `keras_resnets.build` turns it into a model.

    Args:
        name: the network's name; becomes the model's.
        stages: the stages, from input to output.
        input_shape: height, width and channels of the input; height and width may be None.
        classes: number of classes.
        stem: `"conv3"`, a 3x3 convolution of stride 1, or `"conv7"`, a 7x7 convolution of stride 2
            followed by a 3x3 max-pool of stride 2 (He et al. 2015, Table 1).
        stem_width: output channels of the stem.
        placement: the positions of batch-norm and ReLU in a block (He et al. 2016, Fig. 4 and Table 2): `"post"`, after
            the convolutions, with the last ReLU after the addition, the original (He et al. 2015); `"bn_after"`, the
            last BN after the addition as well; `"relu_before"`, the last ReLU before it; `"relu_only"`, each ReLU
            before its convolution and each BN after it; `"pre"`, both before, full pre-activation; or `"pre_open"`,
            the same without BN and ReLU at the end (kuangliu's pytorch-cifar). The stem and the end of the network
            follow from it (`keras_resnets.unit.PLACEMENTS`). A BN follows each projection, except for `"bn_after"` and
            the last two, which normalise the sum or the input of the next convolution.
        shortcut: `"A"` parameter-free (subsampling and zero channels), `"B"` 1x1 projection where
            the shape changes, `"C"` 1x1 projection everywhere (He et al. 2015, section 3.3), or
            `"none"`, a plain network.
        skip: the operation on the skip connections, after subsampling, padding or projection (He et al. 2016, section
            3 and Table 1): `"identity"`, none; `"scale:S:F"`, the shortcut times S and the residual branch times F;
            `"gate:B"`, exclusive gating: the residual branch times g and the shortcut times 1 - g, where
            g = sigmoid(1x1 convolution with a bias that starts at B) of the residual branch's input, which is the
            block's input after a shared pre-activation, if any; `"shortcut_gate:B"`, only the shortcut times 1 - g; or
            `"dropout:R"`, dropout of rate R. Table 1's 1x1 convolution is `shortcut="C"`. The gate belongs to the
            skip: a block whose residual branch is deleted keeps (1 - g) times its shortcut.
        shared_preactivation: with activations before convolutions, the blocks whose first activation feeds the
            shortcut as well: `"stage"`, the first of each stage and those with a projection (He et al. 2016, appendix),
            `"projection"`, those with a projection (Zagoruyko & Komodakis 2016), or `"none"`, no block: projections
            read what came in (bearpaw's pytorch-classification).
        stride_place: which convolution of a stage's first block has the stride: `"first"`
            (He et al. 2015, released models) or `"3x3"`, the first one larger than 1x1 (v1.5).
        output_stride: factor by which the last map is smaller than the input; None takes the product of the strides of
            stem, pools and stages. With a smaller one, the strides beyond it become 1, and the layers after them are
            dilated.
        dilation_rule: which convolutions are dilated where a stride is removed: `"exact"`, those after the one that
            had it, so that the features are those of the strided network, with more in between (Wu et al. 2016's code:
            the first convolution of the stage keeps the old dilation); `"block"`, those of all blocks but the first
            (torchvision; the same for `stride_place="3x3"` bottlenecks); or `"stage"`, all of the stage (the PyTorch
            ports of ResNet-38 known as `wider_resnet38`).
        pool_padding: padding of max-pools between stages: `"end"`, whole and cut windows from the first pixel on
            (MXNet's old convention, with which ResNet-38 was trained), or `"both"`, half a window on each side (torch).
        head: the end of the network: `"classifier"`, global average pooling and a dense layer; `"2conv"`, a score
            for each class at each pixel of the last map, by a 3x3 convolution with ReLU and another (Wu et al. 2016,
            "2 conv."), or `"1conv"`, by the last of these alone.
        head_width: output channels of the first convolution of `"2conv"`.
        head_dilation: dilation of the convolutions of `"2conv"` and `"1conv"`.
        head_dropout: for these two heads, rates before the last convolution of the blocks of the last stages, one rate
            for each of these stages (Wu et al. 2016's code).
        hidden: widths of dense layers between pooling and classifier (VGG).
        width: multiplies the widths of all stages and the head's, not the stem's.
        dropout: rate before a block's last convolution (Wide ResNets, section 2.4).
        bn_momentum: share of the old value that moving statistics keep at each step.
        bn_epsilon: added to the variance.
        frozen_bn: whether batch-norm uses its moving statistics in training as well, without updating them; scales and
            offsets are still trained (Wu et al. 2016's segmentation).
        zero_gamma: start every block as its shortcut: the last normalisation of the branch gets
            scale 0; where the branch ends in a convolution, that convolution starts at 0. Not with
            `placement="relu_before"`: a ReLU at 0 passes no gradient.
        weight_decay: L2 penalty; its gradient is `weight_decay * weight`.
        decay: which weights decay: `"kernels"`, or `"all"`, including normalisation and biases.
        init: `"fan_in"` or `"fan_out"` of the untruncated He normal initialiser.

    Raises:
        ArgumentError: a field breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> spec = kr.Spec("tiny", stages=(kr.Stage(1, (16, 16)), kr.Stage(1, (32, 32), stride=2)))
        >>> spec.depth
        6
    """

    name: str
    stages: tuple[Stage, ...]
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3)
    classes: int = 10
    stem: str = "conv3"
    stem_width: int = 16
    placement: str = "post"
    shortcut: str = "A"
    skip: str = "identity"
    shared_preactivation: str = "stage"
    stride_place: str = "first"
    output_stride: int | None = None
    dilation_rule: str = "exact"
    pool_padding: str = "end"
    head: str = "classifier"
    head_width: int = 512
    head_dilation: int = 12
    head_dropout: tuple[float, ...] = ()
    hidden: tuple[int, ...] = ()
    width: float = 1.0
    dropout: float = 0.0
    bn_momentum: float = 0.9
    bn_epsilon: float = 1e-5
    frozen_bn: bool = False
    zero_gamma: bool = False
    weight_decay: float = 0.0
    decay: str = "kernels"
    init: str = "fan_in"

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_choices()
        self._check_head()

        number("width", self.width, above=0)
        number("dropout", self.dropout, least=0, below=1)
        number("bn_momentum", self.bn_momentum, least=0, below=1)
        number("bn_epsilon", self.bn_epsilon, above=0)
        number("weight_decay", self.weight_decay, least=0, below=1)

        # Combinations of fields that contradict each other.
        if self.output_stride is not None and self.output_stride not in self.strides:
            raise ArgumentError(
                f"output_stride of {self.name!r} must be None or a factor that its stem or one of its stages reaches, "
                f"one of {', '.join(map(str, dict.fromkeys(self.strides)))}; got {self.output_stride!r}."
            )
        if self.skips.kind != "identity" and self.shortcut == "none":
            raise ArgumentError(
                f"skip must be 'identity' in a network without skips, shortcut='none'; got {self.skip!r}. Choose "
                f"another shortcut."
            )
        if self.zero_gamma and "relu" in self.activations.last:
            raise ArgumentError(
                f"zero_gamma must be False with placement={self.placement!r}, whose branches end in a ReLU: at 0 it "
                f"passes no gradient, so no branch would ever learn; got True. Choose another placement."
            )

    def _check_shapes(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ArgumentError(f"name must be a non-empty string without '/'; got {self.name!r}.")
        if not isinstance(self.stages, tuple) or not all(isinstance(s, Stage) for s in self.stages) or not self.stages:
            raise ArgumentError(f"stages must be a non-empty tuple of Stage; got {self.stages!r}.")
        shape = self.input_shape
        if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] is None:
            raise ArgumentError(f"input_shape must be (height, width, channels); got {shape!r}.")
        for size in shape:
            if size is not None:
                whole_number("input_shape", size, 1)
        whole_number("classes", self.classes, 1)
        whole_number("stem_width", self.stem_width, 1)
        for width in self.hidden:
            whole_number("hidden", width, 1)

    def _check_choices(self) -> None:
        one_of("stem", self.stem, ("conv3", "conv7"))
        one_of("placement", self.placement, unit.PLACEMENTS)
        one_of("shortcut", self.shortcut, ("A", "B", "C", "none"))
        one_of("shared_preactivation", self.shared_preactivation, ("stage", "projection", "none"))
        one_of("stride_place", self.stride_place, ("first", "3x3"))
        one_of("decay", self.decay, ("kernels", "all"))
        one_of("init", self.init, ("fan_in", "fan_out"))
        one_of("zero_gamma", self.zero_gamma, (True, False))
        one_of("frozen_bn", self.frozen_bn, (True, False))
        one_of("dilation_rule", self.dilation_rule, ("exact", "block", "stage"))
        one_of("pool_padding", self.pool_padding, ("end", "both"))
        one_of("head", self.head, HEADS)

    def _check_head(self) -> None:
        whole_number("head_width", self.head_width, 1)
        whole_number("head_dilation", self.head_dilation, 1)
        for rate in self.head_dropout:
            number("head_dropout", rate, least=0, below=1)
        if len(self.head_dropout) > len(self.stages):
            raise ArgumentError(
                f"head_dropout must have no more than one rate for each of the {len(self.stages)} stages; "
                f"got {self.head_dropout!r}."
            )

    @property
    def depth(self) -> int:
        """Convolutions and dense layers on the longest path from input to output."""
        head = 2 if self.head == "2conv" else 1 + (len(self.hidden) if self.head == "classifier" else 0)
        return 1 + sum(stage.blocks * len(stage.kernels) for stage in self.stages) + head

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return sum(stage.blocks for stage in self.stages)

    @property
    def activations(self) -> unit.Placement:
        """The positions of batch-norm and ReLU that `placement` names."""
        return unit.PLACEMENTS[self.placement]

    @property
    def skips(self) -> unit.Skip:
        """The operation on the skip connections that `skip` names."""
        return unit.skip(self.skip)

    @property
    def strides(self) -> tuple[int, ...]:
        """Factors by which the maps of stem and stages are smaller than the input, without `output_stride`."""
        factors = [4 if self.stem == "conv7" else 1]
        for stage in self.stages:
            factors.append(factors[-1] * stage.stride * (2 if stage.pool else 1))
        return tuple(factors)

    @property
    def total_stride(self) -> int:
        """Factor by which the last stage's map is smaller than the input."""
        return self.output_stride or self.strides[-1]

    @property
    def is_dense(self) -> bool:
        """Whether the network gives scores for each pixel instead of the image."""
        return self.head != "classifier"

    def dropout_of(self, stage: int) -> float:
        """Returns the dropout rate before the last convolution of a stage's blocks.

        Args:
            stage: the stage's number, from 0.
        """
        rates = self.head_dropout if self.is_dense else ()
        place = stage - (len(self.stages) - len(rates))
        if place >= 0:
            return rates[place]
        own = self.stages[stage].dropout
        return self.dropout if own is None else own

    def widths(self, stage: Stage) -> tuple[int, ...]:
        """Returns the widths of `stage`, multiplied by `width`."""
        return tuple(self.scaled(width) for width in stage.widths)

    def scaled(self, width: int) -> int:
        """Returns a number of channels, multiplied by the field `width`."""
        return max(1, round(width * self.width))

    def replace(self, **overrides: Any) -> Spec:
        """Returns a copy with some fields replaced; raises `ArgumentError` for an unknown field."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return made_of(Spec, values | overrides, "Spec")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, numbers and strings, ready for JSON."""
        return json.loads(self.to_json())

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spec:
        """Inverse of `to_dict`; raises `ArgumentError` for an unknown key."""
        stages = tuple(made_of(Stage, stage, "Stage") for stage in values.get("stages", ()))
        return made_of(cls, {**values, "stages": stages}, "Spec")

    def to_json(self) -> str:
        """Returns the spec as a JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Inverse of `to_json`; raises `ArgumentError` if the text is not the JSON of a spec."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(f"The text must be a spec in JSON, as to_json writes it; got {error}.") from None
        if not isinstance(values, dict):
            raise ArgumentError(f"The text must be a spec in JSON, an object; got a {type(values).__name__}.")
        return cls.from_dict(values)
