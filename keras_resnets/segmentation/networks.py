"""`fcn`: turns a backbone into a network with scores for each pixel."""

from __future__ import annotations

import keras

from keras_resnets.architecture import variants
from keras_resnets.architecture.spec import HEADS, Spec
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.explaining import explained
from keras_resnets.network import layout
from keras_resnets.network.adoption import adopt
from keras_resnets.network.assembly import assemble
from keras_resnets.network.blocks import Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.saving import copy_weights


@explained
def dense(network: str | Spec, head: str = "2conv", output_stride: int | None = 8) -> Spec:
    """Returns the spec of a variant with a segmentation head.

    Args:
        network: a variant's name or a spec. A spec with such a head is returned unchanged.
        head: `"2conv"` or `"1conv"`, as `Spec.head`.
        output_stride: as for `Spec`, unless the spec has its own; a network with a smaller or equal stride keeps it.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> spec = kr.segmentation.dense("resnet38_a1")
        >>> spec.head, spec.output_stride
        ('2conv', 8)
    """
    spec = variants.spec(network)
    one_of("head", head, HEADS[1:])
    if spec.is_dense:
        return spec
    if spec.output_stride is None and output_stride is not None and output_stride < spec.strides[-1]:
        spec = spec.replace(output_stride=output_stride)
    return spec.replace(head=head)


@explained
def fcn(
    backbone: str | Spec | keras.Model,
    classes: int,
    head: str = "2conv",
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    output_stride: int | None = 8,
    classifier_activation: str | None = "softmax",
    **overrides,
) -> ResidualNetwork:
    """Builds a fully convolutional network: a backbone with a score for each class at each pixel of its last map.

    The head is Wu et al. 2016's: `"2conv"`, a 3x3 convolution of 512 channels with bias and ReLU, and a linear one,
    both with dilation 12. Use a smaller `head_dilation` for small images: at 12 and stride 8 the convolutions reach 96
    pixels, and read zeros outside the image.

    Args:
        backbone: the name of a variant or a spec, of which a new network is built; a network of `keras_resnets`, whose
            weights are copied; or another functional Keras model that ends in a map, such as
            `keras.applications.MobileNetV2` with `include_top=False`, whose layers are shared and whose stride is kept.
        classes: number of classes.
        head: `"2conv"` or `"1conv"`, the linear one alone.
        input_shape: height, width and channels, if `backbone` is a name or spec; None for any size.
        output_stride: as for `dense`.
        classifier_activation: None for logits.
        **overrides: fields of `Spec` to replace, such as `frozen_bn=True` or `head_dilation=6`; for a model that is not
            a network of `keras_resnets`, only those of the head.

    Returns:
        A network from images to scores of shape (examples, height / stride, width / stride, classes).

    Raises:
        ArgumentError: an argument breaks its rule, or the backbone does not end in a map.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.segmentation.fcn("resnet38_a1", 11, width=0.0625)
        >>> model.compute_output_shape((1, 64, 96, 3))
        (1, 8, 12, 11)
    """
    one_of("head", head, HEADS[1:])
    spec = getattr(backbone, "spec", None) if isinstance(backbone, keras.Model) else backbone
    if spec is None:
        return _append_head(adopt(backbone), classes, head, classifier_activation, overrides)
    spec = dense(spec, head, output_stride)
    shape = backbone.input_shape[1:] if isinstance(backbone, keras.Model) else input_shape
    spec = spec.replace(**{"input_shape": tuple(shape), "classes": classes, **overrides})
    network = assemble(spec, classifier_activation=classifier_activation)
    if isinstance(backbone, ResidualNetwork):
        copy_weights(backbone, network, backbone.name, new_head=True)
        network.preprocessing = backbone.preprocessing
    return network


def _append_head(
    network: ResidualNetwork, classes: int, head: str, activation: str | None, overrides
) -> ResidualNetwork:
    """Appends a head to a network without a spec."""
    if len(network.output_shape) != 4:
        raise ArgumentError(
            f"backbone must end in a map, (examples, height, width, channels); {network.name!r} ends in "
            f"{network.output_shape}. Build it without its top (include_top=False)."
        )
    fields = {"head_width", "head_dilation", "width", "init", "weight_decay", "decay"}
    if others := sorted(overrides.keys() - fields):
        raise ArgumentError(
            f"{others[0]}: of a backbone that is not a network of keras_resnets, only {', '.join(sorted(fields))} can "
            f"be replaced; got {others[0]}={overrides[others[0]]!r}."
        )
    # Any spec will do, because the head reads only these fields of it.
    spec = variants.spec("resnet8").replace(head=head, classes=classes, **overrides)
    scores = layout.scores(spec, activation)
    chain = [*(link.rewrap() for link in network.chain), Segment(keras.Sequential(scores, name="body"), name="scores")]
    source = keras.Input(network.input_shape[1:], dtype=network.inputs[0].dtype, name="input")
    whole = ResidualNetwork(chain, source, None, network.name, network.dtype_policy, network.preprocessing)
    whole.folded = network.folded
    return whole
