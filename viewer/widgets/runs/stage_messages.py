"""Messages of the Run page where it has no answer to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viewer.runs.query import OBJECT
from viewer.runs.run_sentence import name_subject

if TYPE_CHECKING:
    from viewer.controllers.runs.stages import Stage
    from viewer.controllers.runs.summary_run import SummaryRun
    from viewer.runs.query import RunQuery


@dataclass(frozen=True)
class Message:
    """Title, text, and buttons: name and text of each, the main one first."""

    title: str
    text: str
    buttons: tuple[tuple[str, str], ...] = ()
    progress: tuple[int, int] | None = None
    details: str = ""


BACK = ("episode", "Back to the episode")


def describe_stage(stage: Stage, build: SummaryRun, query: RunQuery) -> Message:
    """Return the message for a stage other than `ready`."""
    if stage.kind == "no run":
        return Message(
            "No run is open",
            "This page answers questions over all episodes of a run: which heads follow an object, in which episodes, "
            "and whether it is different when the robot fails. Open the folder that pi0-capture wrote, with a results "
            "file for each episode.",
            (("folder", "Open run folder…"), ("demo", "Open the demo’s run"), ("episode", "Back")),
        )
    if stage.kind == "not installed":
        return Message("One package is missing", stage.sentence, (("copy", "Copy the command"), BACK))
    if stage.kind == "building":
        return _describe_build(build, query)
    if stage.kind == "stopped":
        done, total = build.progress.done, build.progress.total
        read = f"{done} of {total} episodes were read, none of which has what is asked for. " if done else ""
        return Message(
            "Stopped",
            f"{read}What is read is kept; go on when it suits you.",
            (("build", "Go on"), BACK),
        )
    if stage.kind == "problem":
        return Message("This cannot be asked", stage.sentence)
    if stage.kind == "empty":
        return Message("No episode has an answer", f"{stage.sentence}\n\n{_advise(query)}", (BACK,))
    return Message("There is no answer", stage.sentence, (("build", "Try again"), BACK), details=stage.details)


def _describe_build(build: SummaryRun, query: RunQuery) -> Message:
    done, total = build.progress.done, build.progress.total
    read = f"{done} of {total} episodes are read. " if total else ""
    if build.is_stopped:
        return Message("Stopping …", f"{read}The episode that is being read is finished first.", progress=(done, total))
    return Message(
        "Reading the episodes",
        f"{read}The first question about {_name_question(query)} reads every episode once. Answers come as they are "
        "known; other scores, steps, prompts and frames are then answered at once. You can go on working meanwhile.",
        (("stop", "Stop"), BACK),
        progress=(done, total),
    )


def _name_question(query: RunQuery) -> str:
    """Return the words or actions that a summary is about."""
    return name_subject(query) if query.actions or query.words != OBJECT else "the object that each prompt names"


def _advise(query: RunQuery) -> str:
    """Return what to do where no episode has the words or the region."""
    parts = []
    if query.region:
        parts.append("Regions are drawn and tracked with pi0-regions; they lie beside each results file.")
    if OBJECT in query.words or OBJECT in query.region:
        parts.append(
            f"{OBJECT} stands for the region whose name the prompt mentions, or for what objects.json in the run’s "
            "folder says of each prompt."
        )
    parts.append("Or ask about other words, actions, another region or more frames above.")
    return " ".join(parts)
