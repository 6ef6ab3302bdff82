"""What a results file keeps of its frames: maps or summaries alone, and the regions that are scored."""

from __future__ import annotations

from typing import Final

import h5py
import numpy as np

from capture.number_ranges import format_numbers
from capture.results import schema, scores_schema
from capture.results.read_access import LARGEST_READ, find_dataset
from capture.results.regions_schema import is_name

SHOWN: Final = 40
"""Characters of a list of frames."""


def describe_kept(file: h5py.File, finished: int) -> list[str]:
    """Return lines about frames whose maps are kept and regions that are scored; none of a file that keeps all maps.

    Raises ValueError or KeyError where the summaries do not fit the other parts of the file.
    """
    if scores_schema.HAS_MAPS not in file:
        return []
    flags = np.asarray(find_dataset(file, scores_schema.HAS_MAPS, 1)[: min(finished, LARGEST_READ)])
    if len(flags) < finished:
        raise ValueError(f"{scores_schema.HAS_MAPS} has {len(flags)} entries of {finished}")
    regions = check_scores(file)
    frames_with_maps = np.flatnonzero(flags).tolist()
    if len(frames_with_maps) == finished:
        line = "summaries of words, and attention maps, of every frame"
    elif frames_with_maps:
        numbers = format_numbers(frames_with_maps)
        shown = numbers if len(numbers) <= SHOWN else f"{numbers[:SHOWN].rpartition(',')[0]} …"
        line = f"summaries of every frame, attention maps of {len(frames_with_maps)} ({shown})"
    else:
        line = "summaries of every frame, no attention maps"
    lines = [f"kept      {line}"]
    if regions:
        names = ", ".join(regions[:6]) + (f" and {len(regions) - 6} more" if len(regions) > 6 else "")
        lines.append(f"regions   scores of {names}")
    return lines


def check_scores(file: h5py.File) -> tuple[str, ...]:
    """Return the names of the regions that are scored. Raises ValueError where a shape does not fit the others."""
    action = find_dataset(file, schema.ACTION_TO_IMAGE, 8).shape
    lengths = dict(zip(("layer", "action", "step", "head", "camera", "row", "col"), action[1:], strict=True))
    lengths["word"] = find_dataset(file, scores_schema.WORD_ENTROPY, 4).shape[2]
    regions: tuple[str, ...] = ()
    axes_of = dict(scores_schema.AXES)
    if scores_schema.COVERAGE in file:
        coverage = find_dataset(file, scores_schema.COVERAGE, 5)
        stored = np.ravel(coverage.attrs.get(scores_schema.REGIONS_ATTRIBUTE, ()))[: scores_schema.MAX_REGIONS + 1]
        regions = tuple(str(name) for name in stored)
        if len(set(regions)) != len(regions) or not all(map(is_name, regions)):
            raise ValueError("the regions have names that cannot be")
        axes_of[scores_schema.COVERAGE] = "frame, region, camera, row, col"
    lengths["region"] = len(regions)
    for name, text in axes_of.items():
        axes = text.split(", ")
        if name not in file and ("region" in axes and not regions):
            continue
        dataset = find_dataset(file, name, len(axes))
        expected = tuple(lengths[axis] for axis in axes[1:])
        if dataset.shape[1:] != expected or dataset.dtype.kind != "f":
            raise ValueError(f"{name} has shape {dataset.shape} of {dataset.dtype}, which does not fit")
    return regions
