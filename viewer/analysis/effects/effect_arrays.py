"""Measured effects as arrays with named axes, for frames and queries: maps, words, targets beside controls. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.effects.effect_rows import find_measured_dims
from viewer.analysis.effects.measured import find_dims, find_map
from viewer.analysis.effects.word_effects import find_word_effects, find_word_relevances
from viewer.model.noise_multiples import multiple_of, root_mean_square
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from viewer.io.effects import Effects
    from viewer.io.results import Results
    from viewer.model.effects import TargetEffect

    Array = npt.NDArray[Any]
    Queries = Sequence[Sequence[Query]]
    """Queries of actions in each frame."""
    Arrays = dict[str, tuple[tuple[str, ...], Array]]
    """Name -> names of the axes, and values."""

DESCRIPTIONS: Final = {
    "noise_floor": "how far other noise alone moves the actions of the chunk, in the policy's normalised units",
    "effect_of_chunk": "how far all actions move without each patch or its block, × noise",
    "effect_dim": "action dimensions of whose changes there are effects",
    "effect_of_dim": "how far each dimension of all actions moves without each patch or its block, × its own noise",
    "noise_floor_of_dim": "how far other noise alone moves each dimension of the actions, in normalised units",
    "effect_block": "side in patches of the blocks that were taken away together; 0 without a map",
    "effect_method": "how patches were taken away for the map",
    "text_effect_of_chunk": "how far all actions move without the word of each text token, × noise",
    "text_piece": "the text tokens of each frame, as the vocabulary spells them",
    "target": "regions, words and replacements that were taken away",
    "target_kind": "region, word or replacement",
    "target_method": "how each was taken away",
    "target_patches": "patches of a region",
    "target_effect": "how far all actions move without the target, × noise",
    "target_effect_of_dim": "how far each dimension of all actions moves without the target, × its own noise",
    "robot_actions": "actions of the untouched call, in the robot's units",
    "target_change": "how much each action changes without the target, in the robot's units",
    "control_change": "the same for random regions of the target's shape",
    "control_effect": "the same for random regions of the target's shape, × noise; none for words",
    "suffix_effect": "how far the query's actions move without each patch or its block, × their noise",
    "suffix_noise_floor": "how far other noise alone moves the query's actions, in normalised units",
    "suffix_text_effect": "how far the query's actions move without the word of each text token, × their noise",
    "suffix_target_effect": "how far the query's actions move without the target, × their noise",
    "suffix_control_effect": "the same for random regions of the target's shape, × their noise",
    "gradient_dim": "action dimensions whose gradient weights the attention",
    "relevance_of_chunk": "relevance of each patch for all actions in each of those dimensions (Chefer et al. 2021), "
    "mean of the actions",
    "text_relevance_of_chunk": "the same of each text token",
    "gradient_agreement": "rank correlation over blocks of attention x gradient with the effect on that dimension",
    "relevance_agreement": "the same of the relevance",
    "suffix_relevance": "relevance of each patch for the query's actions, mean of the actions",
    "suffix_text_relevance": "the same of each text token",
}
"""What each array holds; an effect is the root mean square change of the actions."""
_PATCH: Final = ("camera", "row", "col")


@dataclass(frozen=True, eq=False)
class _Targets:
    """Every target of the chosen frames, the same in another frame at the same place."""

    keys: tuple[tuple[str, str, str], ...]
    """Kind, name and method of each."""
    by_frame: tuple[dict[tuple[str, str, str], tuple[TargetEffect, Effects]], ...]
    """What was measured of each, and the file that holds it."""


def read_effect_arrays(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    """Return what was measured in some frames; NaN in those without effects, and no array of what no frame has.

    Args:
        results: The open file with its effects, the file to prefer first.
        frames: Positions of the frames.
        queries: For each frame the queries of actions; none for arrays of words alone.
    """
    if not any(frame in effects.frames for effects in results.effects for frame in frames):
        return {}
    arrays = _read_maps(results, frames, queries) | _read_words(results, frames, queries)
    arrays |= _read_targets(results, frames, queries) | _read_relevances(results, frames, queries)
    return {name: (axes, values) for name, (axes, values) in arrays.items() if name in DESCRIPTIONS and values.size}


def _count_queries(queries: Queries) -> int:
    return max((len(query) for query in queries), default=0)


def _find_actions(query: Query, horizon: int) -> tuple[int, ...]:
    """Return the actions of a query; none for all of them, which are the chunk."""
    return () if len(query.items) == horizon else query.items


def _read_maps(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    shape = len(results.cameras), *results.grid.shape
    count = _count_queries(queries)
    floors = np.full(len(frames), np.nan)
    query_floors = np.full((len(frames), count), np.nan)
    chunk = np.full((len(frames), *shape), np.nan, np.float32)
    maps = np.full((len(frames), count, *shape), np.nan, np.float32)
    dims = _find_dims(results, frames)
    of_dim = np.full((len(frames), len(dims), *shape), np.nan, np.float32)
    floors_of_dim = np.full((len(frames), len(dims)), np.nan)
    blocks, methods = np.zeros(len(frames), np.int64), [""] * len(frames)
    for place, frame in enumerate(frames):
        measured = next((effect for effect in results.effects if frame in effect.frames), None)
        whole = find_map(results, frame, Query("text", (0,)))
        if whole is not None:
            chunk[place], blocks[place], methods[place] = whole.values, whole.block, whole.method.phrase
        if measured is None:
            continue
        for axis, dim in enumerate(dims):
            floors_of_dim[place, axis] = measured.floor_of_dim(frame, dim)
            word_map = find_map(results, frame, Query("text", (0,)), dim=dim)
            if word_map is not None:
                of_dim[place, axis], floors_of_dim[place, axis] = word_map.values, word_map.floor
        floors[place] = measured.floor(frame)
        for number, query in enumerate(queries[place] if queries else ()):
            query_floors[place, number] = measured.floor(frame, _find_actions(query, results.horizon))
            query_map = whole if not _find_actions(query, results.horizon) else find_map(results, frame, query)
            if query_map is not None:
                maps[place, number] = query_map.values
    arrays: Arrays = {"noise_floor": (("frame",), floors), "suffix_noise_floor": (("frame", "query"), query_floors)}
    if dims:
        arrays |= {
            "effect_dim": (("effect_dim",), np.array(dims)),
            "noise_floor_of_dim": (("frame", "effect_dim"), floors_of_dim),
        }
    if np.isfinite(of_dim).any():
        arrays["effect_of_dim"] = (("frame", "effect_dim", *_PATCH), of_dim)
    if blocks.any():
        arrays |= {
            "effect_of_chunk": (("frame", *_PATCH), chunk),
            "suffix_effect": (("frame", "query", *_PATCH), maps),
            "effect_block": (("frame",), blocks),
            "effect_method": (("frame",), np.array(methods)),
        }
    return arrays


def _find_dims(results: Results, frames: Sequence[int]) -> tuple[int, ...]:
    """Return the dimensions of which any of the frames has effects, ascending."""
    return tuple(sorted({dim for frame in frames for dim in find_measured_dims(results, frame)}))


def _read_words(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    count = _count_queries(queries)
    chunk = np.full((len(frames), results.tokens), np.nan, np.float32)
    by_query = np.full((len(frames), count, results.tokens), np.nan, np.float32)
    for place, frame in enumerate(frames):
        whole = find_word_effects(results, frame, Query("text", (0,)))
        if whole is None:
            continue
        chunk[place] = whole.tokens
        for number, query in enumerate(queries[place] if queries else ()):
            of_query = find_word_effects(results, frame, query)
            if of_query is not None:
                by_query[place, number] = of_query.tokens
    if not np.isfinite(chunk).any():
        return {}
    return {
        "text_piece": (("frame", "token"), _read_pieces(results, frames)),
        "text_effect_of_chunk": (("frame", "token"), chunk),
        "suffix_text_effect": (("frame", "query", "token"), by_query),
    }


def _read_pieces(results: Results, frames: Sequence[int]) -> Array:
    pieces = np.full((len(frames), results.tokens), "", object)
    for place, frame in enumerate(frames):
        frame_pieces = results.pieces(frame)[: results.tokens]
        pieces[place, : len(frame_pieces)] = frame_pieces
    return pieces.astype(str)


def _gather_targets(results: Results, frames: Sequence[int]) -> _Targets:
    by_frame = []
    for frame in frames:
        target_by_key: dict[tuple[str, str, str], tuple[TargetEffect, Effects]] = {}
        for effects in results.effects:
            for target in effects.target_effects(frame):
                target_by_key.setdefault((target.kind, target.name, target.phrase), (target, effects))
        by_frame.append(target_by_key)
    return _Targets(tuple(dict.fromkeys(key for target_by_key in by_frame for key in target_by_key)), tuple(by_frame))


def _read_targets(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    targets = _gather_targets(results, frames)
    if not targets.keys:
        return {}
    controls = max(target.controls.size for target_by_key in targets.by_frame for target, _ in target_by_key.values())
    lead, count = (len(frames), len(targets.keys)), _count_queries(queries)
    patches = np.zeros((*lead, len(results.cameras), *results.grid.shape), bool)
    effects, control_effects = np.full(lead, np.nan), np.full((*lead, controls), np.nan)
    dims = _find_dims(results, frames)
    of_dim = np.full((*lead, len(dims)), np.nan)
    by_query = np.full((len(frames), count, len(targets.keys)), np.nan)
    control_by_query = np.full((*by_query.shape, controls), np.nan)
    for place, target_by_key in enumerate(targets.by_frame):
        for number, key in enumerate(targets.keys):
            if key not in target_by_key:
                continue
            target, source = target_by_key[key]
            for axis, dim in enumerate(dims):
                if target.model_change is not None and dim < target.model_change.shape[1]:
                    change = root_mean_square(target.model_change[:, dim])
                    of_dim[place, number, axis] = multiple_of(change, source.floor_of_dim(frames[place], dim))
            for cell in target.cells:
                patches[place, number][cell] = True
            whole = target.compare_with_noise()
            effects[place, number] = whole.multiple
            control_effects[place, number, : whole.controls.size] = whole.controls
            for item, query in enumerate(queries[place] if queries else ()):
                of_query = target.compare_with_noise(_find_actions(query, results.horizon))
                by_query[place, item, number] = of_query.multiple
                control_by_query[place, item, number, : of_query.controls.size] = of_query.controls
    kinds, names, methods = (np.array(column) for column in zip(*targets.keys, strict=True))
    return {
        "target": (("target",), names),
        "target_kind": (("target",), kinds),
        "target_method": (("target",), methods),
        "target_patches": (("frame", "target", *_PATCH), patches),
        "target_effect": (("frame", "target"), effects),
        "target_effect_of_dim": (("frame", "target", "effect_dim"), of_dim),
        "control_effect": (("frame", "target", "control"), control_effects),
        "suffix_target_effect": (("frame", "query", "target"), by_query),
        "suffix_control_effect": (("frame", "query", "target", "control"), control_by_query),
        **_read_changes(targets, controls),
    }


def _read_changes(targets: _Targets, controls: int) -> Arrays:
    """Return the actions of the untouched calls and their changes, robot units; none where no file holds them."""
    lead = len(targets.by_frame), len(targets.keys)
    shapes = [
        target.change.shape
        for target_by_key in targets.by_frame
        for target, _ in target_by_key.values()
        if target.change is not None
    ]
    if not shapes:
        return {}
    shape = shapes[0]
    actions, changes = np.full((lead[0], *shape), np.nan, np.float32), np.full((*lead, *shape), np.nan, np.float32)
    of_controls = np.full((*lead, controls, *shape), np.nan, np.float32)
    for place, target_by_key in enumerate(targets.by_frame):
        for number, key in enumerate(targets.keys):
            target = target_by_key[key][0] if key in target_by_key else None
            if target is None or target.change is None:
                continue
            changes[place, number] = target.change
            if target.baseline is not None:
                actions[place] = target.baseline
            if target.control_changes is not None:
                of_controls[place, number, : len(target.control_changes)] = target.control_changes
    axes = ("action", "robot_dim")
    return {
        "robot_actions": (("frame", *axes), actions),
        "target_change": (("frame", "target", *axes), changes),
        "control_change": (("frame", "target", "control", *axes), of_controls),
    }


def _read_relevances(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    """Return the gradient-weighted attention for all actions and for each query, and how far it agrees with effects."""
    dims = tuple(sorted({dim for frame in frames for dim in find_dims(results, frame, "gradient")}))
    if not dims:
        return {}
    lead, count = (len(frames), len(dims)), _count_queries(queries)
    patches = len(results.cameras), *results.grid.shape
    of_query = len(frames), count, len(dims)
    chunk, text = (np.full((*lead, *shape), np.nan, np.float32) for shape in (patches, (results.tokens,)))
    maps, words = (np.full((*of_query, *shape), np.nan, np.float32) for shape in (patches, (results.tokens,)))
    agreements = {name: np.full(lead, np.nan, np.float32) for name in ("gradient", "relevance")}
    whole = Query("text", (0,))
    for place, frame in enumerate(frames):
        frame_queries = queries[place] if queries else ()
        for axis, dim in enumerate(dims):
            targets = [(whole, chunk[place], text[place])]
            targets += [
                (query, maps[place, number], words[place, number]) for number, query in enumerate(frame_queries)
            ]
            for query, to_patches, to_text in targets:
                gradient_map = find_map(results, frame, query, "gradient", dim)
                if gradient_map is not None:
                    to_patches[axis] = gradient_map.values
                relevances = find_word_relevances(results, frame, query, dim)
                if relevances is not None:
                    to_text[axis] = relevances
            for name, values in agreements.items():
                values[place, axis] = _find_agreement(results, frame, dim, name)
    return {
        "gradient_dim": (("gradient_dim",), np.array(dims)),
        "text_piece": (("frame", "token"), _read_pieces(results, frames)),
        "relevance_of_chunk": (("frame", "gradient_dim", *_PATCH), chunk),
        "text_relevance_of_chunk": (("frame", "gradient_dim", "token"), text),
        "suffix_relevance": (("frame", "query", "gradient_dim", *_PATCH), maps),
        "suffix_text_relevance": (("frame", "query", "gradient_dim", "token"), words),
        **{
            f"{name}_agreement": (("frame", "gradient_dim"), values)
            for name, values in agreements.items()
            if np.isfinite(values).any()
        },
    }


def _find_agreement(results: Results, frame: int, dim: int, name: str) -> float:
    """Return the rank correlation of gradients of one dimension with its effects; NaN where it was not measured."""
    for effects in results.effects:
        values = effects.row(f"agreement/{name}", frame)
        if values is not None and dim in effects.gradient_dims(frame):
            return float(values[effects.gradient_dims(frame).index(dim)])
    return float("nan")
