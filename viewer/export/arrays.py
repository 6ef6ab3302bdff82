"""Maps, masses and entropies as numpy arrays with named axes, in one npz file. No Qt."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.export import tables
from viewer.export.scenes import explain_read_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.export.plan import ExportPlan, Report
    from viewer.export.request import PhaseQueries
    from viewer.export.tables import Block, BlockReader, Column
    from viewer.io.results import Results

MAP_AXES: Final = ("frame", "query", "layer", "step", "head", "camera", "row", "col")
MASS_AXES: Final = (*MAP_AXES[:5], "group")
ENTROPY_AXES: Final = MAP_AXES[:5]


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
            arrays[f"{phase}_mass"], arrays[f"{phase}_entropy"] = _write_maps(archive, reader, queries, count, blocks)
            names = [[named.name for named in named_queries] for named_queries in queries.by_frame]
            arrays[f"{phase}_query"] = np.array([one + [""] * (count - len(one)) for one in names])
            if phase == "suffix":
                arrays["step"] = np.array([results.steps[step] for step in request.steps])
            axes |= {
                f"{phase}_maps": MAP_AXES,
                f"{phase}_mass": MASS_AXES,
                f"{phase}_entropy": ENTROPY_AXES,
                f"{phase}_query": MAP_AXES[:2],
            }
        arrays["axes"] = np.array(json.dumps(axes))
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)


def _write_maps(
    archive: zipfile.ZipFile, reader: BlockReader, queries: PhaseQueries, count: int, blocks: Iterator[Block]
) -> tuple[Column, Column]:
    """Write the maps of one phase, with room for `count` queries in each frame; return its masses and entropies."""
    results, request = reader.results, reader.request
    steps = request.phase_steps(queries.phase)
    lead = (len(request.frames), count, len(request.layers), len(steps), len(request.heads))
    mass = np.full((*lead, len(results.groups)), np.nan, np.float32)
    entropy = np.full(lead, np.nan, np.float32)
    shape = (*lead, len(results.cameras), *results.grid.shape)
    blank = np.full(shape[2:], np.nan, np.float32).tobytes()
    with archive.open(f"{queries.phase}_maps.npy", "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_2_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for frame, named_queries in enumerate(queries.by_frame):
            for number in range(len(named_queries)):
                block = next(blocks)
                assert block.maps is not None
                stream.write(np.ascontiguousarray(block.maps, "<f4").tobytes())
                mass[frame, number], entropy[frame, number] = block.mass, block.scores["entropy"]
            stream.write(blank * (count - len(named_queries)))
    return mass, entropy
