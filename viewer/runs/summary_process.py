"""The process that makes or updates summaries of a run, as any program may start it. No Qt.

A window starts `command` in a QProcess and gives each line of its output to `parse_progress`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from viewer import child_process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from capture.remote.address import Location
    from viewer.runs.query import Subject

MODULE = "viewer.export.runs.build_summary"


@dataclass(frozen=True)
class BuildProgress:
    """One line of the process's output."""

    done: int = 0
    """Episodes that the summary has now, with numbers or not."""
    total: int = 0
    """Finished episodes of the run."""
    is_written: bool = False
    """Whether the summary on the disk has changed: `RunSummary.open` reads it again."""
    is_finished: bool = False
    """Whether all finished episodes are in it."""
    error: str = ""
    """Why it stopped, as a sentence; empty if it did not."""


def list_arguments(run: Location, subjects: Sequence[Subject], objects: Path | None = None) -> list[str]:
    """Return the arguments of MODULE, for `create_python_process` and the like.

    `objects` is the file that says what `{object}` stands for; None for `objects.json` or `.yaml` in the run's folder,
    else for that of the last time, if there is one, else for names of regions in the prompts.
    """
    request = {"run": str(run), "subjects": [asdict(subject) for subject in subjects], "objects": str(objects or "")}
    return [json.dumps(request)]


def command(run: Location, subjects: Sequence[Subject], objects: Path | None = None) -> list[str]:
    """Return the command line of the process.

    It ends by itself when all finished episodes are summarised, with code 0; SIGTERM stops it between two episodes and
    keeps what is done. Its environment is `child_process.create_python_environment()`.
    """
    return child_process.create_python_command(MODULE, *list_arguments(run, subjects, objects))


def parse_progress(line: str) -> BuildProgress | None:
    """Return the progress in a line of the process's output; None for an empty line, a sign of life."""
    with contextlib.suppress(ValueError, TypeError):
        return BuildProgress(**json.loads(line))
    return None
