"""State of the Run page: what it has of a run, what is missing, and why. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from viewer.io.run_index import Run
    from viewer.runs.answers import Distribution, RunAtlas, RunCurve
    from viewer.runs.query import Subject
    from viewer.runs.summary import RunSummary
    from viewer.runs.summary_files import SummaryState

Kind = Literal["no run", "not here", "not installed", "building", "stopped", "problem", "failed", "empty", "ready"]


@dataclass(frozen=True)
class Stage:
    """State of the page."""

    kind: Kind
    sentence: str = ""
    """Why there is nothing to show, for the kinds that say so."""
    details: str = ""


@dataclass(frozen=True, eq=False)
class CellAnswer:
    """What is known of one head."""

    distribution: Distribution
    curve: RunCurve | None = None
    """None of a head under the pointer."""

    @property
    def cell(self) -> tuple[int, int]:
        """Layer and head, by number."""
        return self.distribution.layer, self.distribution.head


def find_missing() -> str:
    """Return what to install where what answers queries is missing; empty where it is there. Imports nothing heavy."""
    from viewer.runs import database

    return database.find_missing()


def open_summary(run: Run, subject: Subject) -> tuple[RunSummary | None, SummaryState]:
    """Return the summary of a subject, and how much of the run it has read."""
    from viewer.runs.summary import RunSummary
    from viewer.runs.summary_files import read_state

    summary = RunSummary.open(run, subject)
    return summary, read_state(run, subject, None) if summary is None else summary.state


def find_signature(run: Run, subject: Subject) -> str:
    """Return what changes when the files of a run change that a summary is made of."""
    from viewer.runs.summary_files import read_state

    return read_state(run, subject, None).signature


def explain_empty(atlas: RunAtlas) -> str:
    """Return why an answer has no values."""
    return " ".join(["No episode has a value for this question.", *atlas.notes])


def explain_left_out(summary: RunSummary | None, total: int) -> str:
    """Return why no episode has numbers, in the words of the first reason."""
    left_out = summary.left_out if summary is not None else ()
    reason = next((episode.reason for episode in left_out if episode.reason), "")
    return f"None of {total} episodes has what is asked for. {reason}".strip()
