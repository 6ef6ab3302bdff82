"""Check where the preview of a run is to be written, before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path

from capture.errors import UserError


def check_preview_target(path: Path, *, overwrite: bool) -> None:
    """Raise UserError where no contact sheet can be written to `path`."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path} is no name for a preview, which is a PNG; call it {path.stem or 'preview'}.png")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the PNG to write, such as {path / 'preview.png'}")
    if not path.parent.is_dir():
        raise UserError(f"the folder {path.parent} does not exist; create it first")
    if path.exists() and not overwrite:
        raise refuse_existing(path)


def refuse_existing(path: Path) -> UserError:
    """Return the error for a file that is there already."""
    return UserError(f"{path} exists and is left as it is; choose another name, or say --overwrite to replace it")
