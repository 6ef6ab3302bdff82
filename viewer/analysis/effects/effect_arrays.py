"""Measured effects as arrays with named axes, for frames and queries: maps, words, targets beside controls. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.effects.measured import find_map
from viewer.analysis.effects.word_effects import find_word_effects
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
    "effect_block": "side in patches of the blocks that were taken away together; 0 without a map",
    "effect_method": "how patches were taken away for the map",
    "text_effect_of_chunk": "how far all actions move without the word of each text token, × noise",
    "text_piece": "the text tokens of each frame, as the vocabulary spells them",
    "target": "regions, words and replacements that were taken away",
    "target_kind": "region, word or replacement",
    "target_method": "how each was taken away",
    "target_patches": "patches of a region",
    "target_effect": "how far all actions move without the target, × noise",
    "control_effect": "the same for random regions of the target's shape, × noise; none for words",
    "suffix_effect": "how far the query's actions move without each patch or its block, × their noise",
    "suffix_noise_floor": "how far other noise alone moves the query's actions, in normalised units",
    "suffix_text_effect": "how far the query's actions move without the word of each text token, × their noise",
    "suffix_target_effect": "how far the query's actions move without the target, × their noise",
    "suffix_control_effect": "the same for random regions of the target's shape, × their noise",
    "gradient_dim": "action dimensions whose gradient weights the attention",
    "suffix_relevance": "relevance of each patch for the query's actions in each of those dimensions (Chefer et al. "
    "2021), mean of the actions",
}
"""What each array holds; an effect is the root mean square change of the actions."""
_PATCH: Final = ("camera", "row", "col")


@dataclass(frozen=True, eq=False)
class _Targets:
    """Every target of the chosen frames, the same in another frame at the same place."""

    keys: tuple[tuple[str, str, str], ...]
    """Kind, name and method of each."""
    by_frame: tuple[dict[tuple[str, str, str], TargetEffect], ...]


def read_effect_arrays(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    """Return what was measured in some frames; NaN in those without effects, and no array of what no frame has.

    Args:
        results: The open file with its effects, the file to prefer first.
        frames: Positions of the frames.
        queries: For each frame the queries of actions; none for arrays of words alone.
    """
    if not any(frame in effects.frames for effects in results.effects for frame in frames):
        return {}
    found = _read_maps(results, frames, queries) | _read_words(results, frames, queries)
    found |= _read_targets(results, frames, queries) | _read_relevances(results, frames, queries)
    return {name: (axes, values) for name, (axes, values) in found.items() if name in DESCRIPTIONS and values.size}


def _count(queries: Queries) -> int:
    return max((len(query) for query in queries), default=0)


def _actions(query: Query, horizon: int) -> tuple[int, ...]:
    """Return the actions of a query; none for all of them, which are the chunk."""
    return () if len(query.items) == horizon else query.items


def _read_maps(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    shape = len(results.cameras), *results.grid.shape
    count = _count(queries)
    floors = np.full(len(frames), np.nan)
    query_floors = np.full((len(frames), count), np.nan)
    chunk = np.full((len(frames), *shape), np.nan, np.float32)
    maps = np.full((len(frames), count, *shape), np.nan, np.float32)
    blocks, methods = np.zeros(len(frames), np.int64), [""] * len(frames)
    for place, frame in enumerate(frames):
        measured = next((effect for effect in results.effects if frame in effect.frames), None)
        whole = find_map(results, frame, Query("text", (0,)))
        if whole is not None:
            chunk[place], blocks[place], methods[place] = whole.values, whole.block, whole.method.phrase
        if measured is None:
            continue
        floors[place] = measured.floor(frame)
        for number, query in enumerate(queries[place] if queries else ()):
            query_floors[place, number] = measured.floor(frame, _actions(query, results.horizon))
            own = whole if not _actions(query, results.horizon) else find_map(results, frame, query)
            if own is not None:
                maps[place, number] = own.values
    found: Arrays = {"noise_floor": (("frame",), floors), "suffix_noise_floor": (("frame", "query"), query_floors)}
    if blocks.any():
        found |= {
            "effect_of_chunk": (("frame", *_PATCH), chunk),
            "suffix_effect": (("frame", "query", *_PATCH), maps),
            "effect_block": (("frame",), blocks),
            "effect_method": (("frame",), np.array(methods)),
        }
    return found


def _read_words(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    count = _count(queries)
    chunk = np.full((len(frames), results.tokens), np.nan, np.float32)
    by_query = np.full((len(frames), count, results.tokens), np.nan, np.float32)
    pieces = np.full((len(frames), results.tokens), "", object)
    for place, frame in enumerate(frames):
        own = results.pieces(frame)[: results.tokens]
        pieces[place, : len(own)] = own
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
        "text_piece": (("frame", "token"), pieces.astype(str)),
        "text_effect_of_chunk": (("frame", "token"), chunk),
        "suffix_text_effect": (("frame", "query", "token"), by_query),
    }


def _gather_targets(results: Results, frames: Sequence[int]) -> _Targets:
    by_frame = []
    for frame in frames:
        own: dict[tuple[str, str, str], TargetEffect] = {}
        for effects in results.effects:
            for target in effects.target_effects(frame):
                own.setdefault((target.kind, target.name, target.method.phrase), target)
        by_frame.append(own)
    return _Targets(tuple(dict.fromkeys(key for own in by_frame for key in own)), tuple(by_frame))


def _read_targets(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    targets = _gather_targets(results, frames)
    if not targets.keys:
        return {}
    controls = max(target.controls.size for own in targets.by_frame for target in own.values())
    lead, count = (len(frames), len(targets.keys)), _count(queries)
    patches = np.zeros((*lead, len(results.cameras), *results.grid.shape), bool)
    effects, control_effects = np.full(lead, np.nan), np.full((*lead, controls), np.nan)
    by_query = np.full((len(frames), count, len(targets.keys)), np.nan)
    control_by_query = np.full((*by_query.shape, controls), np.nan)
    for place, own in enumerate(targets.by_frame):
        for number, key in enumerate(targets.keys):
            target = own.get(key)
            if target is None:
                continue
            for cell in target.cells:
                patches[place, number][cell] = True
            whole = target.against_noise()
            effects[place, number] = whole.multiple
            control_effects[place, number, : whole.controls.size] = whole.controls
            for item, query in enumerate(queries[place] if queries else ()):
                of_query = target.against_noise(_actions(query, results.horizon))
                by_query[place, item, number] = of_query.multiple
                control_by_query[place, item, number, : of_query.controls.size] = of_query.controls
    kinds, names, methods = (np.array(one) for one in zip(*targets.keys, strict=True))
    return {
        "target": (("target",), names),
        "target_kind": (("target",), kinds),
        "target_method": (("target",), methods),
        "target_patches": (("frame", "target", *_PATCH), patches),
        "target_effect": (("frame", "target"), effects),
        "control_effect": (("frame", "target", "control"), control_effects),
        "suffix_target_effect": (("frame", "query", "target"), by_query),
        "suffix_control_effect": (("frame", "query", "target", "control"), control_by_query),
    }


def _read_relevances(results: Results, frames: Sequence[int], queries: Queries) -> Arrays:
    """Return the gradient-weighted attention; all frames have the dimensions of the first that has some."""
    sources = [_find_gradients(results.effects, frame) for frame in frames]
    dims = next((one.gradient_dims(frame) for one, frame in zip(sources, frames, strict=True) if one is not None), ())
    if not dims or not queries:
        return {}
    shape = len(frames), _count(queries), len(dims), len(results.cameras), *results.grid.shape
    values = np.full(shape, np.nan, np.float32)
    for place, (source, frame) in enumerate(zip(sources, frames, strict=True)):
        if source is None:
            continue
        for number, query in enumerate(queries[place]):
            for axis, dim in enumerate(dims):
                found = source.gradient_map(frame, query.items, dim)
                if found is not None:
                    values[place, number, axis] = found.values
    return {
        "gradient_dim": (("dim",), np.array(dims)),
        "suffix_relevance": (("frame", "query", "dim", *_PATCH), values),
    }


def _find_gradients(effects: Sequence[Effects], frame: int) -> Effects | None:
    return next((effect for effect in effects if effect.gradient_dims(frame)), None)
