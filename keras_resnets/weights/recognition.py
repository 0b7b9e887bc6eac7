"""What a weight file is of: its family, by its names, and which of its networks is meant, by their prefix."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from keras_resnets.archives.archive import Archive
from keras_resnets.errors import ArgumentError, listed
from keras_resnets.weights import cifar_families, keras_families, torch_families, wu_families
from keras_resnets.weights.families import Contents, Family
from keras_resnets.weights.opening import open_archive

FAMILIES = (
    keras_families.OWN,
    keras_families.FIRST,
    keras_families.SECOND,
    keras_families.OLD,
    keras_families.OLDEST,
    torch_families.TRANSFORMERS,
    torch_families.TRANSFORMERS_BACKBONE,
    # The first one whose marks are there is taken: those whose marks are all another's too come behind it.
    cifar_families.KUANGLIU,
    cifar_families.KUANGLIU_PRE_BN,
    cifar_families.KUANGLIU_PRE,
    cifar_families.TORCHVISION_CONV3,
    torch_families.TORCHVISION,
    cifar_families.CHENYAOFO,
    cifar_families.BEARPAW,
    cifar_families.XTERNALZ,
    cifar_families.WEIAICUNZAI,
    cifar_families.OSMR_IMAGENET_PRE,
    cifar_families.OSMR_IMAGENET,
    cifar_families.OSMR_PRE,
    cifar_families.OSMR,
    torch_families.AKAMASTER,
    torch_families.ZAGORUYKO,
    wu_families.MXNET,
    wu_families.PSA,
    wu_families.WIDER,
    wu_families.INPLACE,
)


def recognise(archive: Archive) -> tuple[Family, Contents] | None:
    """Returns the family of a weight file, and the network's tensors in it; None if the family is unknown.

    Raises:
        ArgumentError: the file holds several networks, and the archive's prefix names none or more than one of them.
    """
    found: list[tuple[Family, str]] = []
    claimed: set[str] = set()
    for family in FAMILIES:
        for prefix in family.prefixes(archive):
            # Families share marks; the first one with a tensor has it.
            marks = {prefix + mark for mark in family.marks}
            if not marks & claimed:
                claimed |= marks
                found.append((family, prefix))
    prefixes = list(dict.fromkeys(prefix for _, prefix in found))
    chosen = _meant(archive, prefixes)
    for family, prefix in found:
        if prefix == chosen:
            return family, Contents(archive, prefix, prefixes)
    return None


def _meant(archive: Archive, prefixes: list[str]) -> str | None:
    """Returns which of the prefixes of an archive's networks its reader means; None where there is no network."""
    wanted, meant = archive.prefix, prefixes
    if wanted is not None:
        exact = [prefix for prefix in prefixes if prefix in (wanted, f"{wanted}.")]
        meant = exact or [prefix for prefix in prefixes if prefix.startswith(wanted)]
    if len(meant) == 1:
        return meant[0]
    places = " and ".join(repr(prefix) if prefix else "no prefix" for prefix in sorted(prefixes))
    if wanted is not None and not meant:
        known = f"it holds a network under {places}" if prefixes else "it holds no network of a known family"
        raise ArgumentError(
            f"prefix must be the beginning of the names of a network in {str(archive.path)!r}; got {wanted!r}, and "
            f"{known}. Leave it out where the file holds one."
        )
    if not meant:
        return None
    raise ArgumentError(
        f"{str(archive.path)!r} holds {len(prefixes)} networks, under {places}, as where an average of the "
        f"weights (EMA) is kept beside them; say which one is meant: "
        f"keras_resnets.weights.network(file, prefix={max(meant)!r}), prefix= of load and plan, or convert --prefix."
    )


def require_family(archive: Archive) -> tuple[Family, Contents]:
    """Does the same as `recognise`, but raises `ArgumentError` if the family is unknown."""
    recognised = recognise(archive)
    if recognised is None and (is_whole(archive) or any(name.startswith("layers/residual_block") for name in archive)):
        raise ArgumentError(
            f"{str(archive.path)!r} was saved by this package, and is no public weight file: open it with "
            f"keras_resnets.load_model, or give it to keras_resnets.build(name, weights=file). Weights alone that an "
            f"old Keras saved have no names; load them with load_weights of the same network."
        )
    if recognised is None:
        tensors = listed(map(repr, archive), 3)
        raise ArgumentError(
            f"{str(archive.path)!r} is of no known family: its names are {tensors or 'none'}. Known are those of "
            f"keras.applications, torchvision, timm, transformers, pytorchcv, the CIFAR projects of akamaster, "
            f"chenyaofo, kuangliu, bearpaw, xternalz, weiaicunzai and Zagoruyko, and ResNet-38; an adopted network "
            f"takes the .h5 or .keras file of its own layers."
        )
    return recognised


def is_whole(archive: Archive) -> bool:
    """Whether a file in HDF5 holds a whole network of this package, with its layers."""
    return '"class_name": "ResidualNetwork"' in archive.metadata.get("model_config", "")[:100]


def arch_of(archive: Archive) -> str:
    """Returns what a checkpoint of torch calls its network; an empty text if it does not say."""
    return archive.metadata.get("arch", "")[:80]


def check_arch(family: Family, archive: Archive) -> None:
    """Raises `ArgumentError` if the file itself says that its network is another than its names and shapes suggest."""
    arch = arch_of(archive)
    if arch and family.archs and not re.fullmatch(family.archs, arch):
        raise ArgumentError(
            f"name: {str(archive.path)!r} says that its network is {arch!r}, which may compute something else than "
            f"a network of {family.name!r} with the same names and shapes (other strides or pooling). If it does "
            f"not, name the variant in keras_resnets.weights.network(file, name)."
        )


@contextlib.contextmanager
def as_archive(file: str | os.PathLike | Archive, prefix: str | None = None) -> Iterator[Archive]:
    """Opens a file for a `with` statement; an archive that is already open stays open after it.

    Args:
        file: the file, or an open archive.
        prefix: beginning of the names of the network that is meant, where the file holds several.
    """
    if prefix is not None and not isinstance(prefix, str):
        raise ArgumentError(f"prefix must be a text such as 'state_dict_ema.', or None; got {prefix!r}.")
    with contextlib.nullcontext(file) if isinstance(file, Archive) else open_archive(file) as archive:
        yield archive if prefix is None else archive.under(prefix)
