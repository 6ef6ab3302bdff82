"""Measured effects in words: a few lines a frame, for the end of a run and for `pi0-capture info`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from capture.number_ranges import format_numbers
from capture.remote.address import Location
from capture.results.effects_schema import DESCRIPTIONS, describe_covering, describe_masking
from capture.results.read_access import find_dataset, read_row

SHOWN_FRAMES: Final = 4
_FLOOR: Final = "root mean square over actions and dimensions, model units"
_PER_FRAME: Final = (
    *("noise/floor", "noise/floor_error", "targets/multiple", "controls/effect", "controls/smaller", "controls/count"),
    *("heads/effect", "map/effect_of_chunk", "masks/explained", "agreement/spearman_of_chunk"),
    *("gradient/dim", "gradient/relevance", "agreement/relevance"),
)
_QUERIES: Final = {
    "actions": "the actions", "words": "the words", "patches": "the patches", "all": "words, patches and actions",
}  # fmt: skip


def describe_method(run: Mapping[str, Any]) -> str:
    """Return how a run removes targets, as part of a sentence: hidden from the actions in layers 0-8."""
    if run["mode"] == "random-masks":
        return describe_masking(run["fill"], run.get("masks") or 0)
    if run["mode"] != "knockout":
        return describe_covering(run["fill"])
    parts = [f"hidden from {_QUERIES.get(run['from'], run['from'])}"]
    for axis, numbers in (("layer", run.get("layers")), ("head", run.get("in_heads"))):
        if numbers:
            parts.append(f"in {axis}{'s' * (len(numbers) > 1)} {format_numbers(numbers)}")
    return " ".join(parts)


def describe_frame(
    number: int,
    frame: Mapping[str, Any],
    names: Sequence[str],
    cameras: Sequence[str],
    layers: Sequence[int],
    method: str,
) -> list[str]:
    """Return what was measured on one frame: the noise floor, each target beside its controls, heads, map, agreement.

    `frame`: values of the effects file's datasets without the frame axis; absent ones are left out. `method`: of
    `describe_method`.
    """
    floor = float(frame["noise/floor"])
    error = float(frame["noise/floor_error"])
    lines = [f"frame {number}: two noises differ by {floor:.3g} ± {error:.1g} ({_FLOOR})"]
    for index, name in enumerate(names):
        word, _, other = name.partition(" -> ")
        subject = f"{other} in the place of {word}" if other else f"{name} {method}"
        line = f"  {subject}: {_format_multiple(float(frame['targets/multiple'][index]))} x the noise"
        count, smaller = int(frame["controls/count"][index]), int(frame["controls/smaller"][index])
        if count:
            median = float(np.nanmedian(frame["controls/effect"][index])) / floor if floor else float("nan")
            line += f"; random regions: {_format_multiple(median)} x, {smaller} of {count} smaller"
        lines.append(line)
    if "heads/effect" in frame:
        effect = frame["heads/effect"]
        heads = (
            f"layer {layer} head {head} {_format_multiple(effect[layer, head] / floor)} x"
            for layer, head in _largest(effect)
        )
        lines.append(f"  silenced heads with the largest effect: {', '.join(heads)}")
    if "map/effect_of_chunk" in frame:
        chunk = frame["map/effect_of_chunk"]
        [(camera, *_)] = _largest(chunk, 1)
        rows, cols = np.nonzero(chunk[camera] == np.nanmax(chunk))  # of the whole block
        comparative = "more " if "masks/explained" in frame else ""
        lines.append(
            f"  largest effect of the map: {cameras[camera]} {_format_span('row', rows)} "
            f"{_format_span('column', cols)}, {_format_multiple(float(np.nanmax(chunk)) / floor)} x the noise "
            f"{comparative}when {method}"
        )
        if "masks/explained" in frame:
            lines.append(
                f"  the map predicts {float(frame['masks/explained']):.0%} of the variance of masks left out of it"
            )
        agreement = np.mean(frame["agreement/spearman_of_chunk"], axis=1)  # (layers, heads), mean over steps
        if np.isnan(agreement).all():
            lines.append("  too few blocks to rank heads by how far their attention agrees")
        else:
            places = _largest(agreement)
            heads = (f"layer {layers[layer]} head {head} {agreement[layer, head]:.2f}" for layer, head in places)
            lines.append(f"  heads whose attention agrees most (Spearman, mean of the steps): {', '.join(heads)}")
    return lines + _describe_gradients(frame, cameras)


def _describe_gradients(frame: Mapping[str, Any], cameras: Sequence[str]) -> list[str]:
    """Return where each differentiated dimension has its most relevant patch, and how far its map agrees."""
    lines = []
    if "gradient/relevance" not in frame:
        return []
    for index, dim in enumerate(np.asarray(frame["gradient/dim"]).tolist()):
        relevance = np.asarray(frame["gradient/relevance"][index]).mean(0)  # (cameras, rows, cols)
        [(camera, row, col)] = _largest(relevance, 1)
        line = f"  gradient of action dimension {dim}: most relevant {cameras[camera]} row {row} column {col}"
        if "agreement/relevance" in frame:
            line += f", rank correlation with the effect map {float(frame['agreement/relevance'][index]):.2f}"
        lines.append(line)
    return lines


def describe_file(path: Location, file: h5py.File) -> list[str]:
    """Return what an open effects file holds. Raises KeyError, ValueError or UserError for a damaged one."""
    run, results = json.loads(file.attrs["run"]), json.loads(file.attrs["results"])
    numbers = find_dataset(file, "frames/number", 1)
    method = describe_method(run)
    controls = f"; up to {run['controls']} random regions to compare with" if run["region"] or run["regions"] else ""
    lines = [
        f"{path.name}: effects on {len(numbers)} frame{'s' * (len(numbers) != 1)} of {results['name']}, "
        f"{'complete' if file.attrs['complete'] else 'not complete'}",
        f"written   {file.attrs['created']} by {file.attrs['generator']}",
        f"method    {method}; {run['seeds']} noises{controls}",
    ]
    names: list[str] = []
    if "targets" in file and file.get("targets", getlink=True).__class__ is h5py.HardLink and "name" in file["targets"]:
        names = [str(name) for name in find_dataset(file, "targets/name", 1).asstr()[:]]
    cameras, layers = [str(name) for name in file.attrs["cameras"]], [int(layer) for layer in file.attrs["layers"]]
    for index in range(min(len(numbers), SHOWN_FRAMES)):
        frame = {}
        for name in _PER_FRAME:
            try:
                frame[name] = read_row(file, name, len(DESCRIPTIONS[name][0].split(", ")), index)
            except KeyError:
                continue
        lines += describe_frame(int(numbers[index]), frame, names, cameras, layers, method)
    if len(numbers) > SHOWN_FRAMES:
        lines.append(f"{len(numbers) - SHOWN_FRAMES} more frames")
    return lines


def _largest(values: npt.NDArray[Any], count: int = 3) -> list[tuple[int, ...]]:
    """Return the places of the largest values, NaN last."""
    order = np.argsort(np.nan_to_num(values, nan=-np.inf), axis=None)[::-1][:count]
    return [tuple(int(axis) for axis in np.unravel_index(index, values.shape)) for index in order]


def _format_multiple(value: float) -> str:
    return f"{value:.2f}" if not abs(value) < 0.1 else f"{value:.2g}"


def _format_span(axis: str, numbers: npt.NDArray[np.intp]) -> str:
    first, last = int(numbers.min()), int(numbers.max())
    return f"{axis} {first}" if first == last else f"{axis}s {first}-{last}"
