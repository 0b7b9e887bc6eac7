"""Fetches public weights when they are asked for: checked, whole or not at all, and kept."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from keras_resnets.errors import ArgumentError
from keras_resnets.runs import whole
from keras_resnets.weights import hub_facts
from keras_resnets.weights.public import HUB, PublicSet, table

# The folder for fetched files; without it, they lie in the user's cache, and those of Keras where Keras puts them.
VARIABLE = "KERAS_RESNETS_WEIGHTS"
# Seconds that a server may take to accept a connection, or between two pieces of a file.
TIMEOUT = 30.0
_PIECE = 1 << 20
# The folder of the networks that come with this package.
SHIPPED = "saved_models"
# In the repositories of the hub; the second is that of older ones.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def fetch(known: PublicSet) -> tuple[Path, PublicSet]:
    """Returns the file of a set, from this machine or fetched, and what is known of it.

    Raises:
        ArgumentError: it is on the Hugging Face hub, whose client is not installed.
        OSError: it cannot be fetched; the message says which file to put where.
    """
    for folder in folders(known):
        file = folder / known.stored
        if file.is_file() and _agrees(known, file):
            return file, known
    if known.on_hub:
        return _from_hub(known)
    if known.is_own:
        _fail(known, "this installation came without it, or with another one", again=False)
    if not known.address:
        _fail(known, "its publisher no longer serves it", again=False)
    target = folders(known)[0] / known.stored
    with whole(target) as part:
        _download(known, part)
        if not _agrees(known, part):
            _fail(known, f"what {_host(known)} sent has {_found(known, part)}, which is not that of the file")
    return target, known


def is_here(known: PublicSet) -> bool:
    """Whether the file of a set lies in one of the folders; its checksum is not computed."""
    return any((folder / known.stored).is_file() for folder in folders(known)) or (
        known.on_hub and _hub_cache().joinpath(f"models--{_repository(known)[0].replace('/', '--')}", "refs").is_dir()
    )


def folders(known: PublicSet) -> list[Path]:
    """Returns the folders in which the file of a set is looked for; it is fetched into the first."""
    of_keras = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    is_of_keras = known.name.startswith("keras/")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else cache / "keras_resnets"
    if is_of_keras:
        return [own, of_keras] if os.environ.get(VARIABLE) else [of_keras, own]
    if known.is_own:
        return [own, *_shipped()]
    torch = Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub" / "checkpoints"
    return [own] if known.on_hub else [own, torch]


@functools.cache
def _shipped() -> list[Path]:
    """Returns the folders of the networks that come with this package: in a checkout, and where pip has put them."""
    checkout = Path(__file__).parents[2] / SHIPPED
    try:
        files = importlib.metadata.files("keras_resnets") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    installed = [Path(str(file.locate())).parents[1] for file in files if SHIPPED in file.parts]
    return [folder for folder in dict.fromkeys([checkout, *installed]) if folder.is_dir()]


def identify(file: Path) -> PublicSet | None:
    """Returns the set that a file is, by its name and checksum; None if it is none."""
    for known in table():
        if not known.on_hub and known.file == file.name and (known.sha256 or known.md5) and _agrees(known, file):
            return known
    return None


def _agrees(known: PublicSet, file: Path) -> bool:
    """Whether a file has the checksum that is stated; true if none is."""
    stated = known.sha256 or known.md5
    return not stated or _digest(known, file).startswith(stated)


def _digest(known: PublicSet, file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "md5" if known.md5 and not known.sha256 else "sha256").hexdigest()


def _found(known: PublicSet, file: Path) -> str:
    kind = "MD5" if known.md5 and not known.sha256 else "SHA-256"
    return f"{file.stat().st_size:,} bytes and the {kind} {_digest(known, file)[:16]}..."


def _host(known: PublicSet) -> str:
    return urlsplit(known.address).netloc


def _fail(known: PublicSet, reason: str, cause: Exception | None = None, *, again: bool = True) -> NoReturn:
    """Raises the sentence that says why a set cannot be fetched, and which file to put where."""
    folder = folders(known)[0]
    origin = f" from {known.address}" if known.address else ""
    as_ = f" as {known.stored}" if known.stored != known.file else ""
    other = "; one with another checksum is there" if (folder / known.stored).is_file() else ""
    raise OSError(
        f"The weights {known.name!r} cannot be fetched: {reason}. {'Try again, or p' if again else 'P'}ut the file "
        f"{known.file}{origin} into {str(folder)!r}{as_}{other}; make that folder if it is not there."
    ) from cause


def _download(known: PublicSet, part: Path) -> None:
    """Fetches the file of a set from its address."""
    import pooch
    import requests

    shown = sys.stderr is not None and sys.stderr.isatty()
    download = pooch.HTTPDownloader(progressbar=shown, chunk_size=_PIECE, timeout=TIMEOUT)
    pooch.get_logger().info("Fetching %s to %s", known.address, folders(known)[0])
    try:
        download(known.address, str(part), None)
    except requests.exceptions.HTTPError as error:
        answer = error.response
        code = f"{answer.status_code} {answer.reason}" if answer is not None else "with an error"
        _fail(known, f"{_host(known)} answers {code}", error)
    except requests.exceptions.Timeout as error:
        _fail(known, f"{_host(known)} does not answer within {TIMEOUT:g} seconds", error)
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        _fail(known, f"what {_host(known)} sent was cut short", error)
    except requests.exceptions.ConnectionError as error:
        # A connection that is silent in the middle of a file is a timeout inside of another error.
        slow = "timed out" in str(error).lower()
        reason = f"does not answer within {TIMEOUT:g} seconds" if slow else "cannot be reached"
        _fail(known, f"{_host(known)} {reason}", error)
    except requests.exceptions.RequestException as error:
        _fail(known, f"{_host(known)} cannot be asked ({type(error).__name__})", error)


def _repository(known: PublicSet) -> tuple[str, str | None]:
    """Returns the repository of a set on the hub, and the revision; None for the newest."""
    repository, _, revision = known.name.removeprefix(HUB).partition("@")
    return repository, revision or None


def _hub_cache() -> Path:
    """The folder of the hub's client, as it documents it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def _from_hub(known: PublicSet) -> tuple[Path, PublicSet]:
    """Returns the file of a set on the hub, from its client's cache or fetched by it, and what is known of it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ArgumentError(
            f"weights: {known.name!r} is on the Hugging Face hub, whose client is not installed: pip install "
            f"'keras_resnets[hf]'; or put its file as {known.stored or 'its name'} into {str(folders(known)[0])!r}."
        ) from error

    repository, revision = _repository(known)

    def get(file: str, local: bool) -> Path:
        found = huggingface_hub.hf_hub_download(
            repository, file, revision=revision, local_files_only=local, cache_dir=_hub_cache()
        )
        return Path(found)

    file = _first_of(known, get, [known.file] if known.file else list(_HUB_FILES))
    # The client names a large file by its SHA-256, and checks no more than its size.
    blob = file.resolve().name
    if len(blob) == 64:
        with file.open("rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != blob:
                raise OSError(
                    f"The weights {known.name!r} are damaged: {str(file)!r} does not have the SHA-256 that the hub "
                    f"states. Remove {str(file.resolve())!r}, and fetch it again."
                )
    if not known.variant:
        known = hub_facts.complete(known, lambda name: _optional(get, name))
    return file, known


def _first_of(known: PublicSet, get, files: list[str]) -> Path:
    """Returns the first of some files of a repository that is in the cache, or on the hub."""
    from huggingface_hub import errors

    for file in files:
        try:
            return get(file, True)
        except (OSError, errors.EntryNotFoundError, errors.HFValidationError):
            continue
    reason: str = ""
    cause: Any = None
    for file in files:
        try:
            return get(file, False)
        except errors.GatedRepoError as error:
            reason, cause = "its owner gives access on request alone; log in with hf auth login", error
        except errors.RepositoryNotFoundError as error:
            reason, cause = "the Hugging Face hub has no such repository, or does not show it without a login", error
        except errors.RevisionNotFoundError as error:
            reason, cause = f"its repository has no revision {_repository(known)[1]!r}", error
        except errors.LocalEntryNotFoundError as error:
            reason, cause = "huggingface.co cannot be reached", error
        except errors.EntryNotFoundError as error:
            reason, cause = f"its repository has no {' or '.join(files)}", error
            continue
        except errors.HFValidationError as error:
            raise ArgumentError(
                f"weights: {known.name!r} is no name of a repository on the Hugging Face hub."
            ) from error
        except OSError as error:
            reason, cause = f"the Hugging Face hub fails ({type(error).__name__})", error
        break
    _fail(known, reason, cause)


def _optional(get, file: str) -> Path | None:
    """Returns a small file of a repository; None if it has none."""
    from huggingface_hub import errors

    for local in (True, False):
        try:
            return get(file, local)
        except (OSError, errors.EntryNotFoundError):
            continue
    return None
