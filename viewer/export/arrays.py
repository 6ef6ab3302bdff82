"""Maps, masses, entropies and measured effects as numpy arrays with named axes, in one npz file. No Qt."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.analysis.effects.effect_arrays import DESCRIPTIONS, read_effect_arrays
from viewer.analysis.scores import SCORES
from viewer.export import tables
from viewer.export.scenes import explain_read_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.export.plan import ExportPlan, Report
    from viewer.export.request import ExportRequest, PhaseQueries
    from viewer.export.tables import Block, BlockReader, Column
    from viewer.io.results import Results
    from viewer.model.view_state import Query

MAP_AXES: Final = ("frame", "query", "layer", "step", "head", "camera", "row", "col")
MASS_AXES: Final = (*MAP_AXES[:5], "group")
SCORE_AXES: Final = MAP_AXES[:5]
ARRAYS: Final = {
    "axes": "JSON: the names of the axes of each array",
    "descriptions": "JSON: what each array holds, as here",
    "frame": "numbers of the frames, from 0",
    "layer": "numbers of the layers in the policy, from 0",
    "head": "numbers of the heads, from 0",
    "step": "numbers of the denoise steps, from 0",
    "camera": "names of the cameras",
    "group": "names of the groups of keys",
    "bars": "whether a patch lies in the letterbox's bars",
    "prefix_query": "words, by their text; empty where a frame has fewer",
    "prefix_maps": "attention weights of words on the patches, mean of the query's tokens",
    "prefix_mass": "their weight on each group of keys; all of them make 1",
    "prefix_entropy": "entropy over the pictures' patches, in nats",
    "suffix_query": "actions, by their numbers",
    "suffix_maps": "attention weights of actions on the patches, at each denoise step",
    "suffix_mass": "their weight on each group of keys; all of them make 1",
    "suffix_entropy": "entropy over the pictures' patches, in nats",
}
"""What each array holds, but for those of effects."""


def describe_arrays() -> dict[str, str]:
    """Return what each array holds, by name; for the help, and in the file."""
    scores = {
        _score_name("suffix", score.column): score.description for score in SCORES.values() if score.needs_effects
    }
    return ARRAYS | DESCRIPTIONS | scores


def _score_name(phase: str, column: str) -> str:
    return f"{phase}_{column.replace(' ', '_')}"


def write_arrays(plan: ExportPlan, results: Results, report: Report) -> None:
    """Write the arrays of a plan. Where a frame has fewer queries than another, the rest is NaN.

    Raises:
        UserError: A frame cannot be read, or the file cannot be written.
    """
    tables.write_blocks(plan, results, report, _write_npz)


def _write_npz(path: Path, reader: BlockReader, blocks: Iterator[Block]) -> None:
    """Write maps block by block as they are read, and the small arrays after them."""
    results, request = reader.results, reader.request
    with explain_read_errors(results):
        bars = np.stack([results.bars(frame) for frame in request.frames])
    arrays: dict[str, Column] = {
        "frame": np.array(request.frames),
        "layer": np.array([results.layers[layer] for layer in request.layers]),
        "head": np.array(request.heads),
        "camera": np.array(results.cameras),
        "group": np.array(results.groups),
        "bars": bars,
    }
    axes: dict[str, tuple[str, ...]] = {"bars": ("frame", "camera", "row", "col")}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for queries in request.queries:
            phase = queries.phase
            count = max(len(named_queries) for named_queries in queries.by_frame)
            arrays[f"{phase}_mass"], by_score = _write_maps(archive, reader, queries, count, blocks)
            for column, values in by_score.items():
                if column == "entropy" or np.isfinite(values).any():  # no effects of the phase were measured
                    arrays[_score_name(phase, column)] = values
                    axes[_score_name(phase, column)] = SCORE_AXES
            names = [[named.name for named in named_queries] for named_queries in queries.by_frame]
            arrays[f"{phase}_query"] = np.array([labels + [""] * (count - len(labels)) for labels in names])
            if phase == "suffix":
                arrays["step"] = np.array([results.steps[step] for step in request.steps])
            axes |= {
                f"{phase}_maps": MAP_AXES,
                f"{phase}_mass": MASS_AXES,
                f"{phase}_query": MAP_AXES[:2],
            }
        with explain_read_errors(results):
            effects = read_effect_arrays(results, request.frames, _action_queries(request))
        for name, (effect_axes, measured) in effects.items():
            arrays[name], axes[name] = measured, effect_axes
        arrays["axes"] = np.array(json.dumps(axes))
        written = {*arrays, *axes}
        described = {name: text for name, text in describe_arrays().items() if name in written}
        arrays["descriptions"] = np.array(json.dumps(described))
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)


def _write_maps(
    archive: zipfile.ZipFile, reader: BlockReader, queries: PhaseQueries, count: int, blocks: Iterator[Block]
) -> tuple[Column, dict[str, Column]]:
    """Write the maps of one phase, with room for `count` queries in each frame; return its masses and scores."""
    results, request = reader.results, reader.request
    steps = request.phase_steps(queries.phase)
    lead = (len(request.frames), count, len(request.layers), len(steps), len(request.heads))
    mass = np.full((*lead, len(results.groups)), np.nan, np.float32)
    by_score: dict[str, Column] = {score.column: np.full(lead, np.nan, np.float32) for score in reader.scores}
    shape = (*lead, len(results.cameras), *results.grid.shape)
    blank = np.full(shape[2:], np.nan, np.float32).tobytes()
    with archive.open(f"{queries.phase}_maps.npy", "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_2_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for frame, named_queries in enumerate(queries.by_frame):
            for number in range(len(named_queries)):
                block = next(blocks)
                assert block.maps is not None
                stream.write(np.ascontiguousarray(block.maps, "<f4").tobytes())
                mass[frame, number] = block.mass[0]
                for column, values in by_score.items():
                    values[frame, number] = block.scores[column][0]
            stream.write(blank * (count - len(named_queries)))
    return mass, by_score


def find_effect_axes(reader: BlockReader) -> dict[str, tuple[str, ...]]:
    """Return the axes of each array of effects that the first frame has, by its name."""
    queries = [query[:1] for query in _action_queries(reader.request)[:1]]
    arrays = read_effect_arrays(reader.results, reader.request.frames[:1], queries)
    return {name: axes for name, (axes, _) in arrays.items()}


def _action_queries(request: ExportRequest) -> list[list[Query]]:
    """Return the queries of actions in each frame; empty where none is exported."""
    suffix = next((query for query in request.queries if query.phase == "suffix"), None)
    return [] if suffix is None else [[named.query for named in frame] for frame in suffix.by_frame]
