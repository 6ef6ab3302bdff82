"""Tables and arrays: what the figures show, as numbers; a block for each frame and query, so that memory stays flat."""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.scores import SCORES, QueryAttention, Score
from viewer.errors import UserError
from viewer.export import atomic_write, selection
from viewer.export.plan import base_view
from viewer.export.scenes import readable
from viewer.io.results import Results
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.export.plan import Plan, Report
    from viewer.export.request import Options, Phase
    from viewer.export.selection import Asking
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell

MAP_AXES: Final = ("frame", "query", "layer", "step", "head", "camera", "row", "col")
COLUMNS: Final = {
    "frame": "Counted from 1.",
    "phase": "prefix: a word looks; suffix: an action does, once a denoise step.",
    "query": "The word or words, or the action or actions counted from 1.",
    "layer": "By the file’s number, from 0.",
    "step": "The denoise step, from 0; 0 for words, which have one pass.",
    "head": "From 0.",
    "mass …": "Weight on a group of keys, such as a camera’s picture or its letterbox’s bars; all of them make 1.",
    "region": "The patches that --region or the view named: camera:rows,columns. Where all of them lie in the "
    "letterbox’s bars there is no lift, hit or IoU90: nan.",
    "camera": "Of the patch, where --of maps writes a line a patch.",
    "row": "Of the patch, from 0 at the top.",
    "col": "Of the patch, from 0 at the left.",
    "bar": "Whether the patch lies in the letterbox’s bars.",
    "in region": "Whether the patch is in the region.",
    "weight": "On the patch; mean of the query’s tokens.",
}
"""Columns of tables that hold no score, and what each holds."""
Column = npt.NDArray[Any]


def describe_columns() -> dict[str, str]:
    """Return what each column of a table holds, by name; for the help, and in Parquet beside the column."""
    scored = {score.column: score.description for score in SCORES.values() if score.column}
    return COLUMNS | scored


def scores_of(region: tuple[Cell, ...]) -> list[Score]:
    """Return the scores that a table has a column of: those of a region only where there is one, and last."""
    found = [score for score in SCORES.values() if score.column and (region or not score.needs_region)]
    return sorted(found, key=lambda score: score.needs_region)


def check(suffix: str) -> None:
    """UserError before any work where what writes this format is not installed."""
    if suffix == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise UserError("Parquet needs pyarrow: pip install pyarrow (or take --format csv)") from None


@dataclass(frozen=True)
class Block:
    """The numbers of one query in one frame at the chosen layers, steps and heads."""

    frame: int
    phase: Phase
    query: str
    place: int
    """Which query of its frame it is."""
    lead: tuple[int, int, int]
    """How many layers, steps and heads there are."""
    maps: Floats | None
    """(layers, steps, heads, cameras, rows, cols); None for a table of heads, which needs no maps of its own."""
    mass: Floats
    """(layers, steps, heads, groups)"""
    scores: dict[str, Floats]
    """Column of the table -> the score, (layers, steps, heads)."""


class Reading:
    """The selection of one export, read block by block."""

    def __init__(self, results: Results, options: Options) -> None:
        self.results, self.options = results, options
        self.view = base_view(results, options)
        self.axes = selection.along_axes(results, options, self.view)
        self.heads = self.axes["head"] or tuple(range(results.heads))
        self.phases = selection.phases(results, options, self.view)
        in_view = self.view.region if self.view is not None else ()
        self.region = selection.region(results, options.region) if options.region else in_view
        self.boxes = " ".join(map(str, selection.boxes(results, self.region)))
        self.has_maps = options.kind == "arrays" or options.lines == "maps"
        if options.kind == "arrays":
            self.scores = [SCORES["entropy"]]
        else:
            self.scores = [] if self.has_maps else scores_of(self.region)

    def steps(self, phase: Phase) -> tuple[int, ...]:
        """The chosen steps; words have one pass."""
        return self.axes["step"] if phase == "suffix" else (0,)

    def askings(self, phase: Phase, frame: int) -> tuple[Asking, ...]:
        """The queries: as asked, else every word and every action by itself; UserError where they cannot be read."""
        with readable(self.results, frame):
            return self._askings(phase, frame)

    def _askings(self, phase: Phase, frame: int) -> tuple[Asking, ...]:
        asked = self.options.words + self.options.tokens if phase == "prefix" else self.options.actions
        if asked or self.view is not None:
            found = selection.queries(self.results, self.options, self.view, phase, frame)
            if phase == "prefix":
                return found
            # As where every action is asked for, and not as files are called: lines are joined by this name.
            return tuple(replace(one, name=f"action {one.name.removeprefix('action')}") for one in found)
        if phase == "suffix":
            return tuple(
                selection.Asking(Query("action", (i,)), f"action {i + 1}") for i in range(self.results.horizon)
            )
        chips = self.results.chips(frame)
        return tuple(selection.Asking(Query("text", (i,)), chip.label) for i, chip in enumerate(chips))

    def blocks(self, phase: Phase) -> Iterator[Block]:
        """One after the other, frames outermost."""
        results = self.results
        for frame in self.axes["frame"]:
            for place, asking in enumerate(self.askings(phase, frame)):
                with readable(results, frame):
                    block = self._block(phase, frame, place, asking)
                yield block

    def _block(self, phase: Phase, frame: int, place: int, asking: Asking) -> Block:
        results = self.results
        places = {"layers": self.axes["layer"], "steps": self.steps(phase), "heads": self.heads}
        query = QueryAttention(results, frame, asking.query, self.region, **places)
        lead = len(places["layers"]), len(places["steps"]), len(places["heads"])
        maps = query.maps if self.has_maps else None
        return Block(frame, phase, asking.name, place, lead, maps, query.mass,
                     {score.column: score.compute(query) for score in self.scores})  # fmt: skip

    def count(self) -> int:
        """How many heads' rows there are: of every query, layer and step."""
        each = len(self.axes["layer"]) * len(self.heads)
        return each * sum(
            len(self.askings(phase, frame)) * len(self.steps(phase))
            for phase in self.phases
            for frame in self.axes["frame"]
        )


def write(plan: Plan, report: Report) -> None:
    """Write the table or the arrays of a plan."""
    options, path = plan.options, plan.jobs[0].path
    results = Results(options.file)
    try:
        with readable(results):
            reading = Reading(results, options)
        total, done = reading.count(), 0

        def told(blocks: Iterator[Block]) -> Iterator[Block]:
            nonlocal done
            for block in blocks:
                yield block
                done += int(np.prod(block.lead))
                report(done, total)

        with atomic_write.whole(path, overwrite=options.overwrite) as unfinished:
            if options.kind == "arrays":
                _arrays(unfinished, reading, told)
            else:
                tables = (columns(reading, block) for phase in reading.phases for block in told(reading.blocks(phase)))
                (_parquet if options.suffix == "parquet" else _csv)(unfinished, tables)
    finally:
        results.close()


def columns(reading: Reading, block: Block) -> dict[str, Column]:
    """The block as columns of one length: a line for each layer, step and head, or for each of their patches."""
    results = reading.results
    layers = np.array([results.layers[place] for place in reading.axes["layer"]])
    steps = np.array([results.steps[place] for place in reading.steps(block.phase)] if block.phase == "suffix" else [0])
    heads = np.array(reading.heads)
    lead = block.lead
    grid = np.broadcast_arrays(layers[:, None, None], steps[None, :, None], heads[None, None, :])
    count = int(np.prod(lead))
    each = int(np.prod(block.maps.shape[3:])) if block.maps is not None else 1
    made: dict[str, Column] = {
        "frame": np.full(count * each, block.frame + 1),
        "phase": np.full(count * each, block.phase, dtype=object),
        "query": np.full(count * each, block.query, dtype=object),
        "layer": np.repeat(grid[0].ravel(), each),
        "step": np.repeat(grid[1].ravel(), each),
        "head": np.repeat(grid[2].ravel(), each),
    }
    if block.maps is not None:
        camera, row, col = np.indices(block.maps.shape[3:]).reshape(3, -1)
        made["camera"] = np.tile(np.array(results.cameras, dtype=object)[camera], count)
        made["row"], made["col"] = np.tile(row, count), np.tile(col, count)
        made["bar"] = np.tile(results.bars(block.frame).ravel(), count)
        if reading.region:
            inside = np.zeros(block.maps.shape[3:], np.bool_)
            inside[tuple(np.array(reading.region).T)] = True
            made["in region"] = np.tile(inside.ravel(), count)
        made["weight"] = block.maps.ravel()
        return made
    mass = block.mass.reshape(count, -1)
    for group, values in zip(results.groups, mass.T, strict=True):
        made[f"mass {group}"] = values
    for score in reading.scores:
        if score.needs_region and "region" not in made:
            made["region"] = np.full(count, reading.boxes, dtype=object)
        made[score.column] = block.scores[score.column].ravel()
    return made


def as_text(column: Column) -> list[Any]:
    """A column as a CSV has it: seven digits tell float32 numbers apart well enough to read, and halve the file."""
    made: list[Any] = (np.char.mod("%.7g", column) if column.dtype.kind == "f" else column).tolist()
    return made


def _csv(path: Path, tables: Iterator[dict[str, Column]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, table in enumerate(tables):
            if number == 0:
                writer.writerow(table)
            writer.writerows(zip(*(as_text(column) for column in table.values()), strict=True))


def _parquet(path: Path, tables: Iterator[dict[str, Column]]) -> None:
    import pyarrow
    import pyarrow.parquet

    writer: Any = None
    try:
        for columns_of in tables:
            table = pyarrow.table({name: pyarrow.array(column) for name, column in columns_of.items()})
            if writer is None:
                held = describe_columns()
                described = [
                    field.with_metadata({"description": held[field.name]}) if field.name in held else field
                    for field in table.schema
                ]
                writer = pyarrow.parquet.ParquetWriter(str(path), pyarrow.schema(described))
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _arrays(path: Path, reading: Reading, told: Any) -> None:
    """An npz whose maps are written as they are read; where frames have different words, the rest is NaN."""
    results, frames = reading.results, reading.axes["frame"]
    labels: dict[str, Column] = {
        "frame": np.array([frame + 1 for frame in frames]),
        "layer": np.array([results.layers[place] for place in reading.axes["layer"]]),
        "head": np.array(reading.heads),
        "camera": np.array(results.cameras),
        "group": np.array(results.groups),
        "bars": np.stack([results.bars(frame) for frame in frames]),
    }
    axes: dict[str, tuple[str, ...]] = {"bars": ("frame", "camera", "row", "col")}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for phase in reading.phases:
            names = [[asking.name for asking in reading.askings(phase, frame)] for frame in frames]
            most = max(len(one) for one in names)
            steps = reading.steps(phase)
            lead = (len(frames), most, len(labels["layer"]), len(steps), len(reading.heads))
            mass = np.full((*lead, len(results.groups)), np.nan, np.float32)
            entropy = np.full(lead, np.nan, np.float32)
            shape = (*lead, len(results.cameras), *results.grid.shape)
            with archive.open(f"{phase}_maps.npy", "w", force_zip64=True) as stream:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(stream, header)
                blank = np.full(shape[2:], np.nan, np.float32).tobytes()
                row = 0
                for block in told(reading.blocks(phase)):
                    at = frames.index(block.frame) * most + block.place
                    stream.write(blank * (at - row))
                    stream.write(np.ascontiguousarray(block.maps, "<f4").tobytes())
                    row = at + 1
                    mass[frames.index(block.frame), block.place] = block.mass
                    entropy[frames.index(block.frame), block.place] = block.scores["entropy"]
                stream.write(blank * (len(frames) * most - row))
            labels[f"{phase}_mass"], labels[f"{phase}_entropy"] = mass, entropy
            labels[f"{phase}_query"] = np.array([one + [""] * (most - len(one)) for one in names])
            if phase == "suffix":
                labels["step"] = np.array([results.steps[place] for place in steps])
            axes |= {
                f"{phase}_maps": MAP_AXES,
                f"{phase}_mass": (*MAP_AXES[:5], "group"),
                f"{phase}_entropy": MAP_AXES[:5],
                f"{phase}_query": ("frame", "query"),
            }
        labels["axes"] = np.array(json.dumps(axes))
        for name, values in labels.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)
