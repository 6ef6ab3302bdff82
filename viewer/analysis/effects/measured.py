"""Measured effects of an open file: the map of a view, the effect of a region, and sentences about them. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.model.noise_multiples import format_multiple
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from viewer.io.effects import Effects
    from viewer.io.results import Results
    from viewer.model.effects import EffectMap, Method, TargetEffect
    from viewer.model.view_state import Cell, Query, ViewState

MOST_NAMED: Final = 8
"""Frames that a sentence lists."""
HOW_TO_MAP: Final = {
    "effect": "“pi0-capture effects {name} --frames {frame} --map 2” makes one",
    "gradient": "“pi0-capture effects {name} --frames {frame} --gradient 0-6” measures those of dimensions 0 to 6",
}
MAPS: Final = {"effect": "map/effect_of_chunk", "gradient": "gradient/relevance"}
"""Dataset of the map of each measure."""


def find_measured_frames(results: Results) -> tuple[int, ...]:
    """Return the frames with effects or gradients of patches, words or targets, ascending."""
    names = (*MAPS.values(), "map/text_effect_of_chunk", "targets/effect")
    usable_effects = (effects for effects in results.effects if any(effects.has(name) for name in names))
    return tuple(sorted({frame for effects in usable_effects for frame in effects.frames}))


def find_map_unavailable_reason(results: Results, frame: int, measure: str = "effect", dim: int | None = None) -> str:
    """Return why a frame has no effect map, or none of the measure `gradient` or of a dimension; empty if it has."""
    name = MAPS[measure]
    if any(frame in effect.frames and effect.has(name) for effect in results.effects):
        dims = () if dim is None else find_dims(results, frame, measure)
        if dim is None or dim in dims:
            return ""
        noun = "gradient" if measure == "gradient" else "effect map"
        available = f"those of {name_dims(dims)}" if dims else "that of all dimensions together"
        return f"frame {frame} has no {noun} of action dimension {dim}, but {available}"
    instruction = HOW_TO_MAP[measure].format(name=results.path.name, frame=frame)
    mapped = list_mapped_frames(results, measure)
    left_out = "".join(f" ({sentence.partition('. ')[0]})" for sentence in results.effects_left_out[:1])
    if measure == "gradient":
        return f"frame {frame} has no gradients{left_out}; {instruction}"
    if mapped:
        available = f"{name_frames(mapped)} {'have' if len(mapped) > 1 else 'has'} one"
        return f"frame {frame} has no effect map, {available}; {instruction}"
    return f"there is no effect map of this file{left_out}; {instruction}"


def find_dims(results: Results, frame: int, measure: str) -> tuple[int, ...]:
    """Return the action dimensions of which a frame has effects or gradients, ascending; empty without any."""
    is_gradient = measure == "gradient"
    dims = {dim for effect in results.effects
             for dim in (effect.gradient_dims(frame) if is_gradient else effect.effect_dims(frame))}  # fmt: skip
    return tuple(sorted(dims))


def name_dims(dims: tuple[int, ...]) -> str:
    """Return `dimension 2` or `dimensions 0–3, 6`."""
    return f"dimension{'s' * (len(dims) > 1)} {format_numbers(dims)}"


def name_frames(frames: tuple[int, ...]) -> str:
    """Return `frame 2` or `frames 0–3, 6 …`: at most MOST_NAMED of them."""
    more = " …" if len(frames) > MOST_NAMED else ""
    return f"frame{'s' * (len(frames) > 1)} {format_numbers(frames[:MOST_NAMED])}{more}"


def find_map(
    results: Results, frame: int, query: Query, measure: str = "effect", dim: int | None = None
) -> EffectMap | None:
    """Return the effect map of a query in a frame: that on the query's actions, for words that on the whole chunk.

    With the measure `gradient`, the attention weighted by gradients instead. `dim`: the action dimension that is meant,
    None for all of them; the effect on one is that on the whole chunk for any query.

    None where there is none; `find_map_unavailable_reason` says why.
    """
    actions = query.items if query.kind == "action" else ()
    is_gradient = measure == "gradient"
    effect_maps = (effect.gradient_map(frame, actions, dim) if is_gradient else effect.effect_map(frame, actions, dim)
             for effect in results.effects)  # fmt: skip
    return next((effect_map for effect_map in effect_maps if effect_map is not None), None)


def find_region_effects(results: Results, frame: int, region: tuple[Cell, ...]) -> tuple[TargetEffect, ...]:
    """Return what was measured of exactly this region, the file to prefer first; one of each way to take it away."""
    cells = frozenset(region)
    if not cells:
        return ()
    target_by_method: dict[Method, TargetEffect] = {}
    for effect in results.effects:
        for target in effect.target_effects(frame):
            if target.kind == "region" and target.cells == cells:
                target_by_method.setdefault(target.method, target)
    return tuple(target_by_method.values())


def find_region_effect(results: Results, frame: int, region: tuple[Cell, ...]) -> TargetEffect | None:
    """Return the first of `find_region_effects`; None where nothing was measured."""
    return next(iter(find_region_effects(results, frame, region)), None)


def name_actions(query: Query) -> tuple[str, str]:
    """Return the subject whose effect a query shows, and the verb: `action 7`, `moves`; all actions for words."""
    if query.kind != "action":
        return "the actions", "move"
    if len(query.items) == 1:
        return f"action {query.first}", "moves"
    return f"actions {format_numbers(query.items)}", "move"


def describe_target(target: TargetEffect, query: Query, *, removed: str = "these patches") -> tuple[str, str]:
    """Return who moves, and how far beside the controls, without a full stop.

    `action 7`, moves 4.1 × the noise when these patches are hidden from the actions (random areas of the same
    shape: 0.3 × (median), 20 of 20 smaller)
    """
    actions = query.items if query.kind == "action" else ()
    comparison = target.compare_with_noise(actions)
    who, verb = name_actions(query)
    if actions and target.controls.size and not comparison.controls.size:
        # The file has controls of the whole chunk alone.
        comparison, who, verb = target.compare_with_noise(), "the chunk", "moves"
    are = "are" if removed.endswith("s") else "is"
    sentence = f"{verb} {format_multiple(comparison.multiple)} the noise when {removed} {are} {target.phrase}"
    if comparison.controls.size:
        median, count = format_multiple(comparison.median), len(comparison.controls)
        sentence += f" (random areas of the same shape: {median} (median), {comparison.smaller} of {count} smaller)"
    return who, sentence


def describe_map(results: Results, view: ViewState, effect_map: EffectMap) -> tuple[str, str]:
    """Return how far the actions move at most, and without which patch that is.

    moves up to 0.063 × the noise when a block of 2 × 2 patches is hidden from the actions
    """
    largest = _name_largest(results, effect_map)
    if effect_map.is_gradient:
        return describe_maps(view, effect_map), largest
    _, verb = name_map_effect(view, effect_map)
    single = _name_removed(effect_map)
    if not largest:
        return f"{verb} by no finite number when {single} is {effect_map.method.phrase}", ""
    most, whose = format_multiple(float(np.nanmax(effect_map.values))), "its" if effect_map.dims else "the"
    more = " more" if effect_map.method.is_regressed else ""
    if np.isfinite(effect_map.explained):
        largest += f" · the map predicts {100 * effect_map.explained:.0f} % of the variance of masks left out of it"
    return f"{verb} up to {most} {whose} noise{more} when {single} is {effect_map.method.phrase}", largest


def describe_maps(view: ViewState, effect_map: EffectMap) -> str:
    """Return how maps of several frames were made, without the numbers of one."""
    _, verb = name_map_effect(view, effect_map)
    if effect_map.is_gradient and effect_map.dims is not None:
        take = "takes" if verb == "moves" else "take"
        which = name_dims(effect_map.dims) + (" (mean)" if len(effect_map.dims) > 1 else "")
        method = "attention × gradient, positive parts, Chefer et al. 2021"
        return f"{take} from these patches what raises {which} of the actions ({method})"
    more = " more" if effect_map.method.is_regressed else ""
    removed = f"{_name_removed(effect_map)} is {effect_map.method.phrase}"
    return f"{verb} by these multiples of each frame’s noise{more} when {removed}"


def _name_removed(effect_map: EffectMap) -> str:
    return f"a block of {effect_map.block} × {effect_map.block} patches" if effect_map.block > 1 else "a patch"


def name_map_effect(view: ViewState, effect_map: EffectMap) -> tuple[str, str]:
    """Return the subject whose effect a map shows, and the verb; of one dimension that of all actions together."""
    if effect_map.dims is not None and not effect_map.is_gradient:
        return f"{name_dims(effect_map.dims)} of the actions", "moves"
    return name_actions(view.query)


def name_shown(view: ViewState) -> str:
    """Return what effects or gradients a view shows, in a few words: action 4, or all actions, dimension 2."""
    actions = "all actions" if view.query.kind != "action" else name_actions(view.query)[0]
    if view.dim is None:
        return actions
    return f"{actions}, gradient of dimension {view.dim}" if view.measure == "gradient" else f"dimension {view.dim}"


def _name_largest(results: Results, effect_map: EffectMap) -> str:
    if not np.isfinite(effect_map.values).any():
        return ""
    largest = np.unravel_index(np.nanargmax(effect_map.values), effect_map.values.shape)
    camera, row, col = (int(axis) for axis in largest)
    return f"most: {results.cameras[camera].replace('_', ' ')} ({row}, {col})"


def create_attention_view(view: ViewState) -> ViewState:
    """Return the view of the attention that belongs to an effect map: what heads, layers and steps have maps of."""
    if view.measure not in FROM_EFFECTS:
        return view
    # A locked range is in the unit of the measure.
    return replace(view, measure="weight", range="uniform" if view.range == "locked" else view.range)


def find_warning(view: ViewState) -> str:
    """Return what a reader must not take a view for: attention for a cause, or effects for attention."""
    warnings = {"effect": "measured effects, not attention", "gradient": "gradients are local: small changes alone"}
    return warnings.get(view.measure, "attention is not cause")


def list_mapped_frames(results: Results, measure: str = "effect") -> tuple[int, ...]:
    """Return the frames of which there is an effect map, or one of another measure, ascending."""
    maps = (effect for effect in results.effects if effect.has(MAPS[measure]))
    return tuple(sorted({frame for effect in maps for frame in effect.frames}))


def name_source(results: Results, view: ViewState) -> str:
    """Return the name of the effects file that a view's map comes from, and whether its run has finished.

    Empty for attention, and where there is no map.
    """
    if view.measure not in FROM_EFFECTS:
        return ""
    name = MAPS[view.measure]
    source = next((effect for effect in results.effects if view.frame in effect.frames and effect.has(name)), None)
    return "" if source is None else name_file(source)


def name_file(effects: Effects) -> str:
    """Return the name of an effects file for a caption; that its run has not finished, where it has not."""
    return f"{effects.path.name}{'' if effects.complete else ' (its run has not finished)'}"


def describe_file(effects: Effects) -> str:
    """Return what an effects file holds, as a sentence."""
    count = len(effects.frames)
    where = (
        f"frame{'s' * (count != 1)} {format_numbers(effects.frames[:MOST_NAMED])}{' …' if count > MOST_NAMED else ''}"
    )
    parts = []
    if effects.has("map/effect_of_chunk"):
        parts.append("an effect map (hold E to see it)")
    if effects.has("gradient/relevance"):
        parts.append("gradients")
    for kind in ("region", "word"):
        number = effects.kinds.count(kind)
        if number:
            parts.append(f"{number} {kind}{'s' * (number != 1)}")
    if effects.has("heads/effect"):
        parts.append("every head")
    contents = ", ".join(parts) if parts else "nothing that can be shown"
    return f"Effects of {name_file(effects)} on {where}: {contents}."
