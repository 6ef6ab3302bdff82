"""Repositories on Hugging Face, through its cache on this machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

from capture.errors import UserError

REPOSITORY: Final = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")
"""`owner/name` or `owner/name@revision`."""

RepositoryKind = Literal["model", "dataset"]


def fetch_snapshot(
    name: str, revision: str | None, patterns: Sequence[str], *, kind: RepositoryKind = "model", offline: bool = False
) -> Path:
    """Return the folder of a repository in the cache, with the files that match `patterns`.

    Files that the cache lacks are downloaded, unless `offline` or HF_HUB_OFFLINE=1. Raises UserError where that fails.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise UserError(
            f"there is no folder {name!r}, and fetching it from Hugging Face needs the package huggingface_hub: "
            "pip install 'pi0-attention[capture]'"
        ) from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    shown = f"{name}@{revision}" if revision else name
    noun = "repository" if kind == "model" else "data set"
    address = name if kind == "model" else f"datasets/{name}"
    failures: tuple[type[Exception], ...] = (OSError, ValueError, *_errors_of(errors))
    try:
        folder = huggingface_hub.snapshot_download(
            name, repo_type=kind, revision=revision, allow_patterns=list(patterns), local_files_only=offline
        )
    except errors.GatedRepoError as error:
        raise UserError(
            f"the Hugging Face {noun} {name} is gated: accept its terms at https://huggingface.co/{address}, run "
            "`hf auth login`, and try again"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"the Hugging Face {noun} {name} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is neither a folder {name!r} here nor a Hugging Face {noun} of that name that you may read; "
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
    return Path(str(folder))


def _errors_of(module: ModuleType) -> tuple[type[Exception], ...]:
    """Return every exception class in `module`: those of huggingface_hub and of its HTTP library, which has changed."""
    return tuple(value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Exception))
