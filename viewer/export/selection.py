"""Which frames, queries, layers and heads an export is about: from what was typed to places on the axes. No Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viewer.analysis import film
from viewer.analysis.frame_timeline import course_of
from viewer.errors import UserError
from viewer.model.attention import SINKS
from viewer.model.number_ranges import find_ranges, format_numbers, format_range, parse_range
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.export.request import Options, Phase
    from viewer.io.results import Results
    from viewer.model.view_state import Cell, Kind, ViewState

KIND_OF: dict[Phase, Kind] = {"prefix": "text", "suffix": "action"}
PHASE_OF: dict[Kind, Phase] = {"text": "prefix", "action": "suffix"}


def places(text: str, labels: Sequence[int], what: str) -> tuple[int, ...]:
    """Places on an axis whose values are called `labels`: `4,10,15-17`, `all` or `last`; UserError for others."""
    if text == "all":
        return tuple(range(len(labels)))
    if text == "last" and labels:
        return (len(labels) - 1,)
    found: list[int] = []
    for part in text.replace(",", " ").split():
        ends = parse_range(part)
        if ends is None:
            raise UserError(f"“{part}” is no {what}; write numbers such as 4,10,15-17, or all, or last.")
        for end in ends:
            if end not in labels:
                raise UserError(f"There is no {what} {end}; the file has {what}s {format_numbers(sorted(labels))}.")
        if ends[0] > ends[1]:
            raise UserError(f"“{part}” runs backwards; write {ends[1]}-{ends[0]}.")
        found += [place for place, label in enumerate(labels) if ends[0] <= label <= ends[1]]
    if not found:
        raise UserError(f"No {what} is named; write numbers such as 4,10,15-17, or all, or last.")
    return tuple(sorted(set(found)))


def region(results: Results, boxes: Sequence[str]) -> tuple[Cell, ...]:
    """Patches of the boxes `camera:rows,cols`, numbers from 0 or ranges; UserError for what the file does not have."""
    cells: set[Cell] = set()
    for box in boxes:
        name, _, ranges = box.rpartition(":")
        rows, _, columns = ranges.partition(",")
        (top, bottom), (left, right) = parse_range(rows) or (-1, -1), parse_range(columns) or (-1, -1)
        if not name or top < 0 or left < 0:
            raise UserError(f"--region {box} cannot be read; write camera:rows,columns, such as exterior:4-7,8-11.")
        if name not in results.cameras:
            raise UserError(f"There is no camera {name}; the file has {', '.join(results.cameras)}.")
        rows_of, cols_of = results.grid.shape
        if not (top <= bottom < rows_of and left <= right < cols_of):
            raise UserError(
                f"--region {box} is no box of patches; rows run from 0 to {rows_of - 1}, columns to {cols_of - 1}."
            )
        camera = results.cameras.index(name)
        cells |= {(camera, row, col) for row in range(top, bottom + 1) for col in range(left, right + 1)}
    return tuple(sorted(cells))


@dataclass(frozen=True)
class Box:
    """Patches of a camera: first and last row, first and last column."""

    camera: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    def __str__(self) -> str:
        """As `region` reads it."""
        return f"{self.camera}:{format_range(self.rows, '-')},{format_range(self.columns, '-')}"


def boxes(results: Results, cells: Sequence[Cell]) -> tuple[Box, ...]:
    """Patches as boxes: columns side by side are one, rows with the same columns are one."""
    made: list[Box] = []
    for number, camera in enumerate(results.cameras):
        top_of: dict[tuple[int, int], int] = {}
        for row in range(results.grid.rows + 1):
            runs = find_ranges([col for col in range(results.grid.cols) if (number, row, col) in cells])
            for run in [run for run in top_of if run not in runs]:
                made.append(Box(camera, (top_of.pop(run), row - 1), run))
            for run in runs:
                top_of.setdefault(run, row)
    return tuple(made)


@dataclass(frozen=True)
class Asking:
    """One query, in the frame where it was found, and what file names call it."""

    query: Query
    name: str


def phases(results: Results, options: Options, view: ViewState | None) -> tuple[Phase, ...]:
    """Prefix, suffix or both: as asked, as the queries say, as the view says, or what the file holds."""
    words: tuple[Phase, ...] = ("prefix",)
    actions: tuple[Phase, ...] = ("suffix",)
    held = (words if results.chips(0) else ()) + (actions if results.horizon else ())
    by_query = (words if options.words or options.tokens else ()) + (actions if options.actions else ())
    asked = tuple(dict.fromkeys(options.phases))
    if asked:
        for phase in asked:
            if phase not in held:
                raise UserError(f"{results.path.name} holds no {phase}; leave out --phase {phase}.")
        for phase in by_query:
            if phase not in asked:
                name = "--words" if phase == "prefix" else "--actions"
                raise UserError(f"{name} belongs to the {phase}, which --phase leaves out; drop one of them.")
        chosen = asked
    elif by_query:
        chosen = by_query
    elif view is not None:
        chosen = (PHASE_OF[view.query.kind],)
    else:
        chosen = held
    if options.along == "steps":
        if chosen == ("prefix",):
            raise UserError("Words have one pass and no denoise steps; take --over layers, or --phase suffix.")
        chosen = tuple(phase for phase in chosen if phase == "suffix")
    return chosen


def queries(results: Results, options: Options, view: ViewState | None, phase: Phase, frame: int) -> tuple[Asking, ...]:
    """The queries of one phase in one frame, words found by their text."""
    if phase == "suffix":
        labels = range(1, results.horizon + 1)
        if options.actions:
            found = [Query("action", places(text, labels, "action")) for text in options.actions]
        elif view is not None and view.query.kind == "action":
            found = [view.query]
        else:
            found = [Query("action", tuple(range(results.horizon)))]
        return tuple(
            Asking(query, "action" + format_numbers([i + 1 for i in query.items], "-", "+")) for query in found
        )
    made = [asking_words(results, frame, text) for text in options.words]
    made += [Asking(query_of_tokens(results, frame, text), f"token{text}") for text in options.tokens]
    if made:
        return tuple(made)
    if view is not None and view.query.kind == "text":
        from viewer.analysis.scene import matched

        chips = results.chips(frame)
        query = matched(view.query, results, min(view.frame, results.done - 1), results, frame)
        return (Asking(query, " ".join(chips[item].label for item in query.items if item < len(chips))),)
    prompt = tuple(place for place, chip in enumerate(results.chips(frame)) if chip.role == "prompt")
    return (Asking(Query("text", prompt or (0,)), "words"),)


def asking_words(results: Results, frame: int, text: str) -> Asking:
    """The query of one or several words, found by their text; UserError names the words that there are."""
    chips = results.chips(frame)
    items = []
    for word in text.split() or [text]:
        same = [
            place
            for place, chip in enumerate(chips)
            if word.casefold() in {chip.text.casefold(), chip.label.casefold()}
        ]
        if not same:
            there = ", ".join(dict.fromkeys(chip.label for chip in chips if chip.role == "prompt"))
            raise UserError(f"There is no word “{word}” in frame {frame + 1}; its prompt has {there or 'no words'}.")
        prompt = [place for place in same if chips[place].role == "prompt"]
        items += prompt or same
    return Asking(Query("text", tuple(sorted(set(items)))), text)


def query_of_tokens(results: Results, frame: int, text: str) -> Query:
    """The words that hold text tokens of the file."""
    tokens = places(text, range(results.tokens), "text token")
    chips = results.chips(frame)
    items = {place for place, chip in enumerate(chips) if set(chip.tokens) & set(tokens)}
    if not items:
        raise UserError(f"Text token {text} is padding in frame {frame + 1}; take one that belongs to a word.")
    return Query("text", tuple(sorted(items)))


def slug(name: str) -> str:
    """A name that every file system takes."""
    cleaned = re.sub(r"[^\w.+-]+", "_", name, flags=re.UNICODE).strip("._") or "query"
    return cleaned[:60]


def along_axes(results: Results, options: Options, view: ViewState | None) -> dict[str, tuple[int, ...]]:
    """Places of the chosen frames, layers, steps and heads; the usual where nothing was asked."""
    if results.done == 0:
        raise UserError(f"{results.path.name} has no finished frame yet; wait until the capture has written one.")
    numbers = options.kind in {"table", "arrays"}
    every_layer = numbers or (view is None and options.kind in {"summary", "heads"})
    layer = len(results.layers) * 2 // 3 if view is None else view.layer
    step = max(len(results.steps) - 1, 0) if view is None else view.step
    frame = 0 if view is None else view.frame
    heads = () if view is None else view.heads
    whole = range(results.heads)
    made = {
        "frame": places(options.frames, range(1, results.done + 1), "frame") if options.frames else (frame,),
        "layer": places(options.layers, results.layers, "layer")
        if options.layers
        else tuple(range(len(results.layers)))
        if every_layer
        else (layer,),
        "step": places(options.steps, results.steps, "denoise step")
        if options.steps and results.steps
        else tuple(range(len(results.steps)))
        if numbers and results.steps
        else (step,),
        "head": places(options.heads, whole, "head") if options.heads else heads,
    }
    for axis in ("frame", "layer", "step"):  # what a film or a video runs along is taken whole unless it was named
        if f"{axis}s" in options.axes and not getattr(options, f"{axis}s"):
            count = {"frame": results.done, "layer": len(results.layers), "step": len(results.steps)}[axis]
            made[axis] = tuple(range(count))
    if options.kind in {"film", "video"} and "frames" in options.axes and not options.frames:
        made["frame"] = course_of(results).along(frame)  # with one prompt, as the window plays
    if options.kind == "film" and "frames" in options.axes and not options.frames:
        # As in the window: a film of thousands is nothing to look at.
        made["frame"] = film.select_frames(
            made["frame"], film.MAX_FRAMES_OF_LAYERS if "layers" in options.axes else film.MAX_FRAMES
        )
    if len(made["head"]) == results.heads and options.kind != "heads":
        made["head"] = ()
    return made


def groups(results: Results, typed: Sequence[str]) -> tuple[str, ...]:
    """Groups of keys that are left out, as a view holds them; UserError names those that there are."""
    there = ["bars", *(name for name in results.groups if not name.endswith(" bars"))]
    named: list[str] = []
    for word in (word for text in typed for word in text.split(",") if word):
        if word == "sinks":
            named += SINKS
        elif word in results.groups or word == "bars":
            named.append(word)
        elif word.casefold() in there:
            named.append(word.casefold())
        elif word != "none":
            raise UserError(f"There is no group “{word}” to leave out; take {', '.join(there)}, sinks or none.")
    order = [*results.groups, "bars"]
    return tuple(sorted(set(named), key=order.index))
