"""Check an effects file by reading parts of it; `viewer.analysis.probe` runs this in another process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_FRAMES: Final = 40
"""Frames that are read, spread over the file."""


def is_effects_file(path: Path) -> bool:
    """Return whether a file's format is that of effects."""
    from capture.results.effects_schema import FORMAT
    from viewer.errors import READ_ERRORS
    from viewer.io.hdf5_guard import Guarded
    from viewer.io.open_file import open_hdf5

    with contextlib.suppress(*READ_ERRORS), open_hdf5(path) as file:
        return bool(Guarded(file, path).attribute("format") == FORMAT)
    return False


def check_effects(path: Path, note_progress: Callable[[], object] = lambda: None) -> str:
    """Read every dataset of an effects file at some frames; the sentence if it cannot be shown."""
    from capture.results.effects_schema import DESCRIPTIONS
    from viewer.errors import READ_ERRORS, UserError
    from viewer.io.effects import Effects

    try:
        effects = Effects(path)
    except UserError as error:
        return str(error)
    note_progress()
    try:
        count = min(len(effects.frames), MOST_FRAMES)
        for place in range(count):
            frame = effects.frames[place * len(effects.frames) // count]
            for name in DESCRIPTIONS:
                with contextlib.suppress(*READ_ERRORS):  # it only matters that it returns
                    effects.row(name, frame)
            note_progress()
    except MemoryError:
        return f"{path.name} is damaged: a part of it needs more than 1 GB. Measure it again, or copy it again."
    finally:
        effects.close()
    return ""
