"""Tables of masses, entropies and scores, or of maps: CSV and Parquet. No Qt.

Numbers are read in blocks of one query in one frame, so that memory does not grow with the number of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema
from viewer.analysis.effects.effect_rows import COLUMNS as EFFECT_COLUMNS
from viewer.analysis.effects.effect_rows import measures_with_maps, read_effect_rows, read_map_columns
from viewer.analysis.region_boxes import find_boxes
from viewer.analysis.scores import SCORES, Score
from viewer.analysis.several_queries import SeveralQueries
from viewer.errors import UserError
from viewer.export import atomic_write
from viewer.export.formats.csv_lines import format_csv_lines, quote_cell
from viewer.export.formats.parquet_rows import write_parquet
from viewer.export.scenes import explain_read_errors
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viewer.export.plan import ExportPlan, Report
    from viewer.export.request import ExportRequest, NamedQuery, Phase
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Query

    Column = npt.NDArray[Any]
    Write = Callable[[Path, "BlockReader", Iterator["Block"]], None]

COLUMNS: Final = {
    "outcome": "success or failure, as the data set or the client said; empty where it is unknown. Of runs alone.",
    "prompt": "The prompt of the frame. Of runs alone; the episode is the name of the folder.",
    "frame": "By the file’s number, from 0.",
    "phase": "prefix: the query is words; suffix: it is actions, once per denoise step.",
    "query": "The word or words, or the action or actions by number, from 0.",
    "layer": "By the file’s number, from 0.",
    "step": "The denoise step, from 0; 0 for words, which have one pass.",
    "head": "From 0.",
    "mass …": "Weight on a group of keys, such as a camera’s picture or its letterbox’s bars; all of them make 1.",
    "region name": "Of the region that --region names, which pi0-regions made; no column where boxes are given.",
    "region": "The patches that --region or the view named, as they are in this frame: camera:rows,columns. "
    "Where all of them lie in the letterbox’s bars there is no lift, hit or IoU90: nan.",
    "camera": "Of the patch, where --of maps or effects writes a line a patch; empty for words and targets.",
    "row": "Of the patch, from 0 at the top; -1 for words and targets.",
    "col": "Of the patch, from 0 at the left; -1 for words and targets.",
    "bar": "Whether the patch lies in the letterbox’s bars.",
    "in region": "Whether the patch is in the region.",
    "weight": "On the patch; mean of the query’s tokens.",
}
"""Columns of tables that hold no score, and what each holds."""


def describe_columns() -> dict[str, str]:
    """Return what each column of a table holds, by name; for the help, and in Parquet beside the column."""
    scores = {score.column: score.description for score in SCORES.values() if score.column}
    return COLUMNS | scores | EFFECT_COLUMNS


def find_column_scores(*, has_region: bool, has_effects: bool = False) -> list[Score]:
    """Return the scores that a table has a column of: those of a region only where there is one, and last.

    Those of effects only where the file has some.
    """
    scores = [score for score in SCORES.values() if score.column and (has_region or not score.needs_region)]
    scores = [score for score in scores if has_effects or not score.needs_effects]
    return sorted(scores, key=lambda score: score.needs_region)


def check_installed(file_format: str) -> None:
    """Check that what writes a format is installed.

    Raises:
        UserError: It is not; the message says how to install it.
    """
    if file_format == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise UserError("Parquet needs pyarrow: pip install pyarrow (or take --format csv)") from None


@dataclass(frozen=True)
class Block:
    """The numbers of one or several queries in one frame at the chosen layers, steps and heads."""

    frame: int
    phase: Phase
    queries: tuple[str, ...]
    """Names of the queries: all of the frame in a table of heads, else one."""
    lead: tuple[int, int, int, int]
    """How many queries, layers, steps and heads there are."""
    maps: Floats | None
    """Attention weights on the patches: (queries, layers, steps, heads, cameras, rows, cols), mean of the query's
    tokens; None for a table of heads, which needs no maps of its own."""
    mass: Floats
    """(queries, layers, steps, heads, groups)"""
    scores: dict[str, Floats]
    """Column of the table -> the score: (queries, layers, steps, heads)."""
    effects: dict[str, Column]
    """Columns of a table of effects, of one length; those of each patch in a table of maps; else none."""

    @property
    def rows(self) -> int:
        """How many heads' rows of attention it has, of all layers and steps."""
        return math.prod(self.lead)


class BlockReader:
    """Reads the selection of one export, block by block."""

    def __init__(self, results: Results, request: ExportRequest) -> None:
        self.results, self.request = results, request
        self._boxes: tuple[int, str] = -1, ""
        """A frame, and the region there as `name_boxes` returns it."""
        self.has_region = bool(request.view.region) or request.region is not None
        self.has_maps = request.kind == "arrays" or request.table_of == "maps"
        self.is_of_effects = request.kind == "table" and request.table_of == "effects"
        self.is_of_heads = not (self.has_maps or self.is_of_effects)
        has_effects = bool(results.effects) or request.has_effect_columns
        scores = find_column_scores(has_region=self.has_region, has_effects=has_effects)
        if request.kind == "arrays":
            self.scores = [SCORES["entropy"], *(score for score in scores if score.needs_effects)]
        else:
            self.scores = [] if self.has_maps or self.is_of_effects else scores

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks: phases outermost, then frames, then queries.

        Raises:
            UserError: A frame cannot be read.
        """
        for queries in self.request.queries:
            for frame, named_queries in zip(self.request.frames, queries.by_frame, strict=True):
                together = len(named_queries) if self.is_of_heads else 1
                for start in range(0, len(named_queries), together or 1):
                    with explain_read_errors(self.results, frame):
                        block = self._read_block(queries.phase, frame, named_queries[start : start + together])
                    if not self.is_of_effects or len(block.effects["dim"]):
                        yield block

    def _read_block(self, phase: Phase, frame: int, named: tuple[NamedQuery, ...]) -> Block:
        request, names = self.request, tuple(query.name for query in named)
        region = request.find_region_at(frame)
        if self.is_of_effects:
            [query] = named
            nothing = np.zeros(0, np.float32)
            effects = read_effect_rows(self.results, frame, query.query, region, request.dim)
            return Block(frame, phase, names, (1, 1, 1, 1), None, nothing, {}, effects)
        layers, steps, heads = request.layers, request.phase_steps(phase), request.heads
        attention = SeveralQueries(
            self.results, frame, [query.query for query in named], region, layers=layers, steps=steps, heads=heads
        )
        return Block(
            frame,
            phase,
            names,
            (len(named), len(layers), len(steps), len(heads)),
            attention.maps if self.has_maps else None,
            attention.mass,
            {score.column: attention.compute_score(score) for score in self.scores},
            self._read_effects_of_patches(frame, named[0].query),
        )

    def _read_effects_of_patches(self, frame: int, query: Query) -> dict[str, Column]:
        if self.request.kind != "table" or self.request.table_of != "maps":
            return {}
        measures = FROM_EFFECTS if self.request.has_effect_columns else measures_with_maps(self.results)
        return read_map_columns(self.results, frame, query, self.request.dim, measures)

    def name_boxes(self, frame: int) -> str:
        """Return the patches of the region in a frame, as boxes."""
        if self._boxes[0] != frame:
            self._boxes = frame, " ".join(map(str, find_boxes(self.results, self.request.find_region_at(frame))))
        return self._boxes[1]

    def count_rows(self) -> int:
        """Return how many heads' rows of attention all blocks have: of every query, layer and step.

        A block of effects counts as one.
        """
        request = self.request
        if self.is_of_effects:
            return sum(len(named_queries) for queries in request.queries for named_queries in queries.by_frame)
        passes = sum(
            len(named_queries) * len(request.phase_steps(queries.phase))
            for queries in request.queries
            for named_queries in queries.by_frame
        )
        return passes * len(request.layers) * len(request.heads)


def write_table(plan: ExportPlan, results: Results, report: Report) -> None:
    """Write the table of a plan.

    Raises:
        UserError: A frame cannot be read, or the file cannot be written.
    """
    write_blocks(plan, results, report, _write_parquet if plan.request.format == "parquet" else _write_csv)


def write_blocks(plan: ExportPlan, results: Results, report: Report, write: Write) -> None:
    """Write the one file of a plan by `write(path, reader, blocks)`, and report rows of attention as they are read."""
    _keep_freed_memory()
    reader = BlockReader(results, plan.request)
    total, done = reader.count_rows(), 0

    def reported_blocks() -> Iterator[Block]:
        nonlocal done
        for block in reader.blocks():
            yield block
            done += block.rows
            report(done, total)

    blocks = reported_blocks()
    with atomic_write.open_atomic_path(plan.files[0].path, overwrite=plan.request.overwrite) as unfinished:
        write(unfinished, reader, blocks)
        next(blocks, None)  # the last block is reported here where `write` took no more than it needed


def _keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays for the next ones.

    glibc returns blocks of some 100 kB and more to the system until it has seen a larger one freed; every array then
    costs page faults: 4,600 a full-size frame, a sixth of the time of a table with a box. Elsewhere this does nothing.
    """
    np.empty(31 << 20, np.uint8)  # never touched, so that it takes no memory; from 32 MB on nothing is learnt


def table_columns(reader: BlockReader, block: Block) -> dict[str, Column]:
    """Return a block as columns of one length.

    A line for each layer, step and head, or for each of their patches; of effects for each patch, word and target.
    """
    results, request = reader.results, reader.request
    if reader.is_of_effects:
        return _effect_columns(reader, block)
    layers = np.array([results.layers[layer] for layer in request.layers])
    steps = np.array([results.steps[step] for step in request.steps] if block.phase == "suffix" else [0])
    per_map = 1 if block.maps is None else math.prod(block.maps.shape[4:])
    lead, lines = (*block.lead, per_map), block.rows * per_map

    def spread(values: Column, axis: int) -> Column:
        """Return values along one axis of the block as a column."""
        return np.broadcast_to(values.reshape(-1, *(1,) * (len(lead) - 1 - axis)), lead).ravel()

    columns: dict[str, Column] = {
        **_run_columns(reader, block, lines),
        "frame": np.broadcast_to(block.frame, lines),
        "phase": _repeat(block.phase, lines),
        "query": _repeat(block.queries[0], lines)
        if len(block.queries) == 1
        else spread(np.array(block.queries, dtype=object), 0),
        "layer": spread(layers, 1),
        "step": spread(steps, 2),
        "head": spread(np.array(request.heads), 3),
    }
    if block.maps is not None:
        return columns | _map_columns(reader, block, block.maps)
    return columns | _score_columns(reader, block)


def _run_columns(reader: BlockReader, block: Block, lines: int) -> dict[str, Column]:
    """Return the columns that tables of runs have alone."""
    if reader.request.outcome is None:
        return {}
    prompt = reader.results.string(schema.FRAMES_PROMPT, block.frame)
    return {"outcome": _repeat(reader.request.outcome, lines), "prompt": _repeat(prompt, lines)}


def _effect_columns(reader: BlockReader, block: Block) -> dict[str, Column]:
    lines = len(block.effects["dim"])
    effect_columns = {
        name: column for name, column in block.effects.items() if name != "in region" or reader.has_region
    }
    return {
        **_run_columns(reader, block, lines),
        "frame": np.broadcast_to(block.frame, lines),
        "query": _repeat(block.queries[0], lines),
        **effect_columns,
    }


def _map_columns(reader: BlockReader, block: Block, maps: Floats) -> dict[str, Column]:
    results, shape = reader.results, maps.shape[4:]
    camera, row, col = np.indices(shape).reshape(3, -1)
    columns: dict[str, Column] = {
        "camera": np.tile(np.array(results.cameras, dtype=object)[camera], block.rows),
        "row": np.tile(row, block.rows),
        "col": np.tile(col, block.rows),
        "bar": np.tile(results.bars(block.frame).ravel(), block.rows),
    }
    if reader.has_region:
        inside = np.zeros(shape, np.bool_)
        for cell in reader.request.find_region_at(block.frame):
            inside[cell] = True
        columns["in region"] = np.tile(inside.ravel(), block.rows)
    measured = {name: np.tile(values, block.rows) for name, values in block.effects.items()}
    return columns | {"weight": maps.ravel()} | measured


def _score_columns(reader: BlockReader, block: Block) -> dict[str, Column]:
    mass = block.mass.reshape(block.rows, -1)
    columns: dict[str, Column] = {
        f"mass {group}": values for group, values in zip(reader.results.groups, mass.T, strict=True)
    }
    for score in reader.scores:
        if score.needs_region and "region" not in columns:
            columns |= _region_columns(reader, block)
        columns[score.column] = block.scores[score.column].ravel()
    return columns


def _region_columns(reader: BlockReader, block: Block) -> dict[str, Column]:
    """Return the region that is scored: its name, if it has one, and its patches in this frame."""
    named = reader.request.region
    boxes = reader.name_boxes(block.frame)
    columns: dict[str, Column] = {} if named is None else {"region name": _repeat(named.names[block.frame], block.rows)}
    return columns | {"region": _repeat(boxes, block.rows)}


def _repeat(text: str, lines: int) -> Column:
    """Return a column of one text, which takes no memory for each line."""
    return np.broadcast_to(np.array(text, dtype=object), lines)


def _write_csv(path: Path, reader: BlockReader, blocks: Iterator[Block]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, block in enumerate(blocks):
            columns = table_columns(reader, block)
            if number == 0:
                stream.write(",".join(map(quote_cell, columns)) + "\n")
            stream.writelines(format_csv_lines(list(columns.values())))


def _write_parquet(path: Path, reader: BlockReader, blocks: Iterator[Block]) -> None:
    write_parquet(path, (table_columns(reader, block) for block in blocks), describe_columns())
