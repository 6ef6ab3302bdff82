"""Find the local folder of a checkpoint from the value of `--checkpoint`; download it if necessary."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from capture.checkpoints.safetensors_reader import INDEX, SINGLE
from capture.errors import UserError

_REPOSITORY = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")

_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".msgpack")

_CONFIGURATION = (
    "*.json",
    "tokenizer/*",
    "tokenizer.model",
    "paligemma_tokenizer.model",
    "assets/**/norm_stats.json",
    "policy_*.safetensors",
)
_PYTORCH = (*_CONFIGURATION, "model*.safetensors")
_JAX = (*_CONFIGURATION, "params/**")


@dataclass(frozen=True)
class Source:
    """A checkpoint folder on this machine and its name."""

    folder: Path
    name: str
    parts: tuple[str, ...]
    """Parts of its path or repository name, the last one nearest; one may name an openpi configuration."""


def find_source(given: str | Path, *, offline: bool = False) -> Source:
    """Return the folder for `given`: a path, or a Hugging Face repository `owner/name` or `owner/name@revision`.

    An existing path takes precedence. Of a repository, only the required files are downloaded into Hugging Face's
    cache; with `offline`, or HF_HUB_OFFLINE=1, they must be there already. Raises UserError for anything else.
    """
    text = str(given)
    scheme = re.match(r"([a-z][a-z0-9+]*):/", text)
    path = Path(text).expanduser()
    try:
        exists = bool(text) and path.exists()
    except (OSError, ValueError) as error:  # a name too long, a NUL in it
        raise UserError(f"--checkpoint {text!r} is no usable path: {error}") from error
    if exists:
        return _local(path)
    if scheme:
        raise UserError(_elsewhere(text, scheme[1]))
    match = _REPOSITORY.fullmatch(text)
    if match is None or isinstance(given, Path):
        raise UserError(
            f"there is no checkpoint at {text!r}; give a folder, or a Hugging Face repository as owner/name"
        )
    return _hugging_face(match["name"], match["revision"], offline=offline)


def is_local(given: str) -> bool:
    """Return whether `given` is a path that exists on this machine, so that `find_source` fetches nothing."""
    with contextlib.suppress(OSError, ValueError):  # a name too long, a NUL in it
        return bool(given) and Path(given).expanduser().exists()
    return False


def _local(path: Path) -> Source:
    path = path.absolute()
    if path.is_dir():
        folder = path
    elif path.name in (SINGLE, INDEX):
        folder = path.parent
        if not (folder / "config.json").is_file():
            raise UserError(f"config.json must lie beside {path} to say what it is; give the folder that holds both")
    elif path.suffix in _PICKLED:
        raise UserError(
            f"{path} is a pickled file, and opening one can run any program in it; give a folder with {SINGLE} instead"
        )
    else:
        raise UserError(f"{path} is no checkpoint; give the folder that holds {SINGLE} or params/")
    # Names such as params/ and 20000/ do not identify a checkpoint without the preceding parts.
    names = [part for part in folder.parts if part != folder.anchor]
    last = len(names) - 1 if names and names[-1] == "params" else len(names)
    first = last - 1
    while first > 0 and names[first].isdigit():
        first -= 1
    return Source(folder, "/".join(names[max(first, 0) : last]) or str(folder), tuple(names[:last]))


def _elsewhere(text: str, scheme: str) -> str:
    if scheme == "gs":
        name = text.rstrip("/").rsplit("/", 1)[-1] or "CHECKPOINT"
        return (
            f"{text} lies in a Google Cloud bucket; fetch it with `gcloud storage cp -r {text.rstrip('/')} .` "
            f"(or `gsutil -m cp -r`), then give --checkpoint {name}"
        )
    if scheme in ("http", "https", "hf") and (match := re.search(r"(?:huggingface\.co|hf:/)/([\w.-]+/[\w.-]+)", text)):
        return f"{text} is a web address; give the Hugging Face repository itself: --checkpoint {match[1]}"
    return f"{text} lies elsewhere; fetch it to this machine, then give its folder with --checkpoint"


def _hugging_face(name: str, revision: str | None, *, offline: bool) -> Source:
    try:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise UserError(
            f"there is no folder {name!r}, and fetching it from Hugging Face needs the package huggingface_hub: "
            "pip install 'pi0-attention[capture]'"
        ) from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    folder = _snapshot(name, revision, _PYTORCH, offline=offline)
    if not (folder / SINGLE).exists() and not (folder / INDEX).exists():
        folder = _snapshot(name, revision, _JAX, offline=offline)
    shown = f"{name}@{revision}" if revision else name
    return Source(folder, shown, tuple(name.split("/")))


def _snapshot(name: str, revision: str | None, patterns: Sequence[str], *, offline: bool) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    shown = f"{name}@{revision}" if revision else name
    failures: tuple[type[Exception], ...] = (OSError, ValueError, *_errors_of(errors))
    try:
        found = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=list(patterns), local_files_only=offline
        )
    except errors.GatedRepoError as error:
        raise UserError(
            f"the Hugging Face repository {name} is gated: accept its terms at https://huggingface.co/{name}, run "
            "`hf auth login`, and try again"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"the Hugging Face repository {name} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is neither a folder {name!r} here nor a Hugging Face repository of that name that you may read; "
            "check the spelling, and run `hf auth login` if it is private"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"there is no folder {name!r} here, and {shown} is not in Hugging Face's cache and could not be fetched "
            "(offline, or no network); fetch it where there is a network, or give a folder"
        ) from error
    except failures as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"could not fetch {shown} from Hugging Face: {reason}") from error
    return Path(str(found))


def _errors_of(module: ModuleType) -> tuple[type[Exception], ...]:
    """Return every exception class in `module`: those of huggingface_hub and of its HTTP library, which has changed."""
    return tuple(value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Exception))
