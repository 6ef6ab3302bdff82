"""Checks of the path of a results file before anything is written."""

from __future__ import annotations

from pathlib import Path

from capture.errors import UserError
from capture.pipeline.planning.plan import FileOutline
from capture.results.resume import ask_run_state, describe_difference


def is_finished(path: Path, outline: FileOutline) -> bool:
    """Return whether `path` is a complete file of the same run. Raises UserError for any other existing file."""
    if not path.is_file():
        return False
    state = ask_run_state(path)
    if state is None or state.run is None or not state.is_complete:
        raise UserError(f"{path} exists and is left as it is; choose another name, or say --overwrite to replace it")
    if changed := describe_difference(state.run, outline.run):
        raise UserError(
            f"{path} exists and is of another run: {changed}; choose another name, or say --overwrite to replace it"
        )
    return True


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise UserError if no results file can be written to `path`; `is_finished` checks what needs the plan."""
    if path.is_dir() or not path.name:
        raise UserError(f"{path} is a folder; name the file to write, such as {path / 'results.h5'}")
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if not existing.is_dir():
        raise UserError(f"{existing} is a file, so that no folder {path.parent} can be made; choose another with -o")
    if path.is_file() and not overwrite and ask_run_state(path) is None:
        raise UserError(f"{path} exists and is left as it is; choose another name, or say --overwrite to replace it")


def make_parent(path: Path) -> None:
    """Create the folder of a results file. Raises UserError where it cannot be created."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {path.parent} cannot be created ({(error.strerror or str(error)).lower()})"
        ) from error
