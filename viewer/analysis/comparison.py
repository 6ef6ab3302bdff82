"""Comparing the shown view with a pinned view or another file: what each side keeps, one colour range, texts. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from capture.results import schema
from viewer.analysis import scene as scenes
from viewer.analysis.caption import LOOKS, caption, describe_heads, words_of
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from viewer.analysis.caption import Caption
    from viewer.analysis.scene import Scene
    from viewer.io.results import Results
    from viewer.model.view_state import Measure, ViewState

SIDE_FIELDS: Final = ("frame", "query", "sought", "step", "layer", "heads", "reduce", "measure", "dim", "left_out")
"""Fields that a pinned view keeps of its own; the others, such as colours and unit, are those of the shown view."""
MEASURES: Final = {"weight": "Attention", "contribution": "Contribution", "effect": "Effect",
                   "gradient": "Gradient"}  # fmt: skip
"""What a side of a comparison is called where it differs from the other in its measure alone."""
MAX_PROMPT: Final = 60
"""Characters of a prompt in the sentence of a side."""


def take_side(shown: ViewState, pinned: ViewState) -> ViewState:
    """Return the pinned view with the look of the shown one: unit, scale, colours and range."""
    side = replace(shown, **{name: getattr(pinned, name) for name in SIDE_FIELDS})
    # A locked range is in the unit of one measure.
    is_other = has_other_unit(shown.measure, side.measure)
    return replace(side, range="uniform") if is_other and shown.range == "locked" else side


def in_measure_of(shown: ViewState, side: ViewState) -> ViewState:
    """Return what is subtracted from the shown view, in its measure: numbers of two measures have no difference."""
    return side if side.measure == shown.measure else replace(side, measure=shown.measure, dim=shown.dim)


def has_other_unit(one: Measure, other: Measure) -> bool:
    """Return whether numbers of two measures are in different units."""
    return one != other and (one in FROM_EFFECTS or other in FROM_EFFECTS)


def name_measure(shown: ViewState, pinned: ViewState) -> str | None:
    """Return what a view shows, Attention or Effect, where it differs from the shown one in that alone; else None."""
    other_fields = [name for name in SIDE_FIELDS if name not in {"measure", "dim"}]
    if shown.measure == pinned.measure or any(getattr(shown, name) != getattr(pinned, name) for name in other_fields):
        return None
    return MEASURES[pinned.measure]


def has_one_range(shown: ViewState, pinned: ViewState) -> bool:
    """Return whether both sides can have one colour range: not if each map has its own, nor for two measures."""
    return shown.range != "map" and shown.measure == pinned.measure


def put_on_one_range(one: Scene, two: Scene, shown: ViewState, pinned: ViewState) -> tuple[Scene, Scene]:
    """Return the scenes of both sides, on one colour range where they can have one."""
    return scenes.on_one_range(one, two) if has_one_range(shown, pinned) else (one, two)


def create_side_caption(results: Results, state: ViewState) -> Caption:
    """Return the caption of one side of a comparison, with all in which it differs from the other.

    Word or action, denoise step, layer, heads, measure, what is left out, frame, file and prompt; the scale is not
    named, as both sides have one.
    """
    plain = caption(results, state)
    details = [part for part in plain.details.split(" · ") if "scale" not in part and "colours" not in part]
    prompt = " ".join(results.string(schema.FRAMES_PROMPT, state.frame).split())
    if len(prompt) > MAX_PROMPT:
        prompt = f"{prompt[: MAX_PROMPT - 1].rstrip()}…"
    details += [f"frame {state.frame}", results.path.name, *([f"“{prompt}”"] if prompt else [])]
    return replace(plain, place=plain.place.removesuffix(f" {LOOKS}"), details=" · ".join(details))


def name_view(results: Results, state: ViewState) -> str:
    """Return a short name for a view that is pinned: “duck”, layer 3, head 2."""
    return ", ".join(_name_parts(results, state))


def _name_parts(results: Results, state: ViewState) -> list[str]:
    parts = [words_of(results, state.frame, state.query)[0]]
    if state.measure in FROM_EFFECTS:
        whose = "" if state.dim is None else f" of dimension {state.dim}"
        return [f"{state.measure}{whose} on " + (parts[0] if state.query.kind == "action" else "the actions")]
    if state.query.kind == "action" and results.steps:
        parts.append(f"step {results.steps[min(state.step, len(results.steps) - 1)]}")
    layer = results.layers[min(state.layer, len(results.layers) - 1)]
    return [*parts, f"layer {layer}", describe_heads(state, results.heads)]
