"""The caption of a view: a sentence that says what is shown. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from capture.results import schema
from viewer.model.number_ranges import format_numbers

if TYPE_CHECKING:
    from viewer.io.results import Results
    from viewer.model.view_state import Query, ViewState

MOST_NAMED: Final = 4


@dataclass(frozen=True)
class Caption:
    """The sentence in three parts, the most important first."""

    subject: str
    """The query: “duck” or action 7 of 15."""
    place: str
    """What the query is, and its pass: (word 5, prefix) looks at …"""
    details: str
    """Layer, heads, measure and scale."""

    def __str__(self) -> str:
        return f"{self.subject} {self.place} {self.details}"


def spoken(camera: str) -> str:
    """Return a camera's name for use in a sentence."""
    return camera.replace("_", " ")


def heading_of(camera: str) -> str:
    """Return a camera's name as a heading."""
    return spoken(camera[:1].upper() + camera[1:])


def time_of(results: Results, frame: int, step: int) -> float | None:
    """Return the flow time at which a denoise step starts: stored, else 1 - step / steps; None if unknown."""
    if not results.steps:
        return None
    number = results.steps[min(step, len(results.steps) - 1)]
    times = results.flow(schema.ACTION_TIME, frame)
    if times is not None and number < len(times) and np.isfinite(times[number]) and times[number] != 0:
        return float(times[number])
    total = results.model.get("steps")
    return 1 - number / total if isinstance(total, int) and total > number else None


def words_of(results: Results, frame: int, query: Query) -> tuple[str, str]:
    """Return the query's name, and which word or action it is."""
    if query.kind == "action":
        of = f"of {results.horizon}"
        if len(query.items) == 1:
            return f"action {query.first + 1} {of}", ""
        return f"actions {format_numbers([item + 1 for item in query.items])} {of}", "mean"
    chips = results.chips(frame)
    picked = [chips[item] for item in query.items if item < len(chips)]
    if not picked:
        return "no word", ""
    names = [f"“{chip.label}”" for chip in picked[:MOST_NAMED]]
    if len(picked) > MOST_NAMED:
        names.append(f"{len(picked) - MOST_NAMED} more")
    if len(picked) > 1:
        return ", ".join(names), f"mean of {len(picked)} words"
    chip, kind = picked[0], {"prompt": "word", "state": "state value", "template": "template word"}
    where = (
        f"{kind[chip.role]} {chip.ordinal}"
        if chip.role in kind
        else {"bos": "beginning of text"}.get(chip.role, chip.role)
    )
    if chip.role == "state" and chip.state_index >= 0:
        where = f"state value {chip.state_index + 1}"
    if len(chip.tokens) > 1:
        where += f", mean of {len(chip.tokens)} pieces"
    return names[0], where


def heads_of(state: ViewState, heads: int) -> str:
    """Return which heads are shown and how they are reduced."""
    if len(state.heads) == 1:
        return f"head {state.heads[0]}"
    how = "mean" if state.reduce == "mean" else "maximum"
    return f"{how} of heads {format_numbers(state.heads)}" if state.heads else f"{how} of {heads} heads"


def caption(results: Results, state: ViewState, *, difference: str = "") -> Caption:
    """Return the caption of a view; `difference` names what is subtracted."""
    subject, which = words_of(results, state.frame, state.query)
    if state.query.kind == "text":
        phase = "prefix"
    else:
        phase = f"suffix, step {results.steps[state.step] if results.steps else 0}"
        time = time_of(results, state.frame, state.step)
        phase += f", t = {time:.1f}" if time is not None else ""
    place = f"({which}, {phase}) looks at …" if which else f"({phase}) looks at …"
    details = [f"layer {results.layers[state.layer]}", heads_of(state, results.heads)]
    details.append("raw weights" if state.measure == "weight" else "weight × value norm")
    if state.unit == "uniform":
        details.append("times uniform")
    if state.left_out:
        gone = ", ".join("BOS" if name == "bos" else name for name in state.left_out)
        details.append(f"without {gone}, renormalised")
    if difference:
        details.append(f"minus {difference}")
    else:
        scope = {"uniform": "one scale for all cameras, from 1 × uniform", "shared": "one scale for all cameras",
                 "map": "a scale for each camera", "locked": "locked scale"}  # fmt: skip
        details.append(scope[state.range])
        if state.scale != "linear":
            details.append("log colours" if state.scale == "log" else "colours by rank")
    return Caption(subject, place, " · ".join(details))
