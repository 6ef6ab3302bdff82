"""Find the local folder of a checkpoint from the value of `--checkpoint`; download it if necessary."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from capture.checkpoints.lora import ADAPTER_WEIGHTS
from capture.checkpoints.safetensors_reader import INDEX, SINGLE
from capture.errors import UserError
from capture.hugging_face import REPOSITORY, fetch_snapshot

_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".msgpack")

_CONFIGURATION = (
    "*.json",
    "tokenizer/*",
    "tokenizer.model",
    "paligemma_tokenizer.model",
    "assets/**/norm_stats.json",
    "policy_*.safetensors",
)
_PYTORCH = (*_CONFIGURATION, "model*.safetensors", "adapter_model.safetensors")
_JAX = (*_CONFIGURATION, "params/**")


_GENERIC = ("pretrained_model", "pretrained_model_ema", "checkpoints", "last")
"""Names of folders in every training run of lerobot."""


@dataclass(frozen=True)
class Source:
    """A checkpoint folder on this machine and its name."""

    folder: Path
    name: str
    parts: tuple[str, ...]
    """Parts of its path or repository name, the last one nearest; one may name an openpi configuration."""


def find_source(
    location: str | Path, *, offline: bool = False, check: Callable[[Source], None] | None = None
) -> Source:
    """Return the folder for `location`: a path, or a Hugging Face repository `owner/name` or `owner/name@revision`.

    An existing path takes precedence. Of a repository, only the required files are downloaded into Hugging Face's
    cache; with `offline`, or HF_HUB_OFFLINE=1, they must be there already. `check` is called before weights are
    downloaded, with a source that has the configuration only, and may raise. Raises UserError for anything else.
    """
    text = str(location)
    scheme = re.match(r"([a-z][a-z0-9+]*):/", text)
    path = Path(text).expanduser()
    try:
        exists = bool(text) and path.exists()
    except (OSError, ValueError) as error:  # a name too long, a NUL in it
        raise UserError(f"--checkpoint {text!r} is no usable path: {error}") from error
    if exists:
        return _local(path)
    if scheme:
        raise UserError(_describe_unsupported_address(text, scheme[1]))
    match = REPOSITORY.fullmatch(text)
    if match is None or isinstance(location, Path):
        raise UserError(
            f"there is no checkpoint at {text!r}; give a folder, or a Hugging Face repository as owner/name"
        )
    return _hugging_face(match["name"], match["revision"], offline=offline, check=check)


def is_local(location: str) -> bool:
    """Return whether `location` is a path that exists on this machine, so that `find_source` fetches nothing."""
    with contextlib.suppress(OSError, ValueError):  # a name too long, a NUL in it
        return bool(location) and Path(location).expanduser().exists()
    return False


def _local(path: Path) -> Source:
    path = path.absolute()
    if (cached := _cached_repository(path)) is not None:
        return cached
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
    # Names such as params/, pretrained_model/ and 20000/ do not identify a checkpoint without the preceding parts.
    names = [part for part in folder.parts if part != folder.anchor]
    last = len(names) - 1 if names and names[-1] == "params" else len(names)
    first = last - 1
    while first > 0 and (names[first].isdigit() or names[first] in _GENERIC):
        first -= 1
    return Source(folder, "/".join(names[max(first, 0) : last]) or str(folder), tuple(names[:last]))


def _cached_repository(path: Path) -> Source | None:
    """Return the source of a folder in Hugging Face's cache: of `models--owner--name` or one of its snapshots.

    The snapshot of the revision `main` is taken, else the only one. None for any other folder. Raises UserError where
    several snapshots could be meant.
    """
    repository = next(
        (folder for folder in (path, path.parent, path.parent.parent) if folder.name.startswith("models--")), None
    )
    if repository is None or not path.is_dir() or not (repository / "snapshots").is_dir():
        return None
    name = repository.name.removeprefix("models--").replace("--", "/", 1)
    if path.parent.name == "snapshots":
        return Source(path, name, tuple(name.split("/")))
    if path not in (repository, repository / "snapshots"):
        return None
    snapshots = sorted(folder for folder in (repository / "snapshots").iterdir() if folder.is_dir())
    main = repository / "refs" / "main"
    current = repository / "snapshots" / (main.read_text().strip() if main.is_file() else "")
    folder = current if current in snapshots else snapshots[0] if len(snapshots) == 1 else None
    if folder is None:
        count = f"{len(snapshots)} snapshots" if snapshots else "no snapshot"
        raise UserError(f"{path} holds {count} of {name}; give one of its snapshots/*, or --checkpoint {name}")
    return Source(folder, name, tuple(name.split("/")))


def _describe_unsupported_address(text: str, scheme: str) -> str:
    if scheme == "gs":
        name = text.rstrip("/").rsplit("/", 1)[-1] or "CHECKPOINT"
        return (
            f"{text} lies in a Google Cloud bucket; fetch it with `gcloud storage cp -r {text.rstrip('/')} .` "
            f"(or `gsutil -m cp -r`), then give --checkpoint {name}"
        )
    if scheme in ("http", "https", "hf") and (match := re.search(r"(?:huggingface\.co|hf:/)/([\w.-]+/[\w.-]+)", text)):
        return f"{text} is a web address; give the Hugging Face repository itself: --checkpoint {match[1]}"
    return f"{text} lies elsewhere; fetch it to this machine, then give its folder with --checkpoint"


def _hugging_face(name: str, revision: str | None, *, offline: bool, check: Callable[[Source], None] | None) -> Source:
    shown, parts = f"{name}@{revision}" if revision else name, tuple(name.split("/"))
    if check is not None:
        check(Source(fetch_snapshot(name, revision, _CONFIGURATION, offline=offline), shown, parts))
    folder = fetch_snapshot(name, revision, _PYTORCH, offline=offline)
    if not any((folder / weights).exists() for weights in (SINGLE, INDEX, ADAPTER_WEIGHTS)):
        folder = fetch_snapshot(name, revision, _JAX, offline=offline)
    return Source(folder, shown, parts)
