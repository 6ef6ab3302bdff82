"""The caption of a view: a sentence that describes what is shown. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from capture.results import schema
from viewer.analysis.effects import measured as effects
from viewer.analysis.regions.carried_region import describe_region
from viewer.model.noise_multiples import format_noise
from viewer.model.number_ranges import format_numbers, format_place, format_range
from viewer.model.plain_text import capitalise
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viewer.io.results import Results
    from viewer.model.view_state import Query, ViewState

MOST_NAMED: Final = 4
LOOKS: Final = "looks at the pictures:"
LOOK: Final = "look at the pictures:"
MOST_CHARACTERS: Final = 40
"""Of a word in a caption."""
MOST_CHARACTERS_OF_PROMPT: Final = 160
"""Of a prompt in a caption."""
ROLE_NAMES: Final = {
    "prompt": "", "state": "state value, ", "template": "template, ", "newline": "newline, ",
    "bos": "beginning of text, ",
}  # fmt: skip
"""What a chip of each role is called before its token; words of the prompt need no name."""


@dataclass(frozen=True)
class Caption:
    """The sentence in three parts, the most important first."""

    subject: str
    """The query: “duck” or action 7 of 0–14."""
    place: str
    """What the query is, and its pass: (token 6, prefix) looks at the pictures:"""
    details: str
    """Layer, heads, measure and scale."""

    def __str__(self) -> str:
        return f"{self.subject} {self.place} {self.details}"


@lru_cache(maxsize=256)
def format_camera(camera: str) -> str:
    """Return a camera's name for use in a sentence."""
    return camera.replace("_", " ")


@lru_cache(maxsize=256)
def describe_heading(camera: str) -> str:
    """Return a camera's name as a heading."""
    return format_camera(camera[:1].upper() + camera[1:])


def elide(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text of at most `most` characters; of a longer one its beginning and its end."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 3].rstrip()} … {text[-end:].lstrip()}"


def describe_prompts(prompts: Iterable[str]) -> str:
    """Return `prompt “…”`, or how many prompts there are and the first; a long one without its middle."""
    texts = [text for text in dict.fromkeys(" ".join(prompt.split()) for prompt in prompts) if text]
    if not texts:
        return ""
    first = f"“{elide(texts[0], MOST_CHARACTERS_OF_PROMPT)}”"
    return f"prompt {first}" if len(texts) == 1 else f"{len(texts)} prompts, the first {first}"


def describe_time(results: Results, frame: int, step: int) -> float | None:
    """Return the flow time at which a denoise step starts: stored, else 1 - step / steps; None if unknown."""
    if not results.steps:
        return None
    number = results.steps[min(step, len(results.steps) - 1)]
    times = results.flow(schema.ACTION_TIME, frame)
    if times is not None and number < len(times) and np.isfinite(times[number]) and times[number] != 0:
        return float(times[number])
    total = results.model.get("steps")
    return 1 - number / total if isinstance(total, int) and total > number else None


def words_of(results: Results, frame: int, query: Query) -> tuple[str, str]:
    """Return the query's name, and which text tokens of the file it is."""
    if query.kind == "action":
        if len(query.items) == 1:
            return f"action {format_place(query.first, range(results.horizon))}", ""
        return f"actions {format_numbers(query.items)} of {format_range((0, results.horizon - 1))}", "mean"
    chips = results.chips(frame)
    picked = [chips[item] for item in query.items if item < len(chips)]
    if not picked:
        return "no word", ""
    names = [f"“{elide(chip.label)}”" for chip in picked[:MOST_NAMED]]
    if len(picked) > MOST_NAMED and picked == [chip for chip in chips if chip.role == "prompt"]:
        return f"all {len(picked)} words of the prompt", "mean"
    if len(picked) > MOST_NAMED:
        names.append(f"{len(picked) - MOST_NAMED} more")
    if len(picked) > 1:
        return ", ".join(names), f"mean of {len(picked)} words"
    chip = picked[0]
    where = f"token {chip.tokens[0]}" if len(chip.tokens) == 1 else f"mean of tokens {format_numbers(chip.tokens)}"
    return names[0], f"{ROLE_NAMES.get(chip.role, chip.role)}{where}"


def describe_heads(state: ViewState, heads: int) -> str:
    """Return which heads are shown and how they are reduced."""
    if len(state.heads) == 1:
        return f"head {format_place(state.heads[0], range(heads))}"
    reduction = "mean" if state.reduce == "mean" else "maximum"
    return f"{reduction} of heads {format_numbers(state.heads)}" if state.heads else f"{reduction} of {heads} heads"


def caption(results: Results, state: ViewState, *, difference: str = "") -> Caption:
    """Return the caption of a view; `difference` names what is subtracted."""
    if state.measure in FROM_EFFECTS:
        return _caption_of_effect(results, state, difference)
    if not results.has_maps(state.frame):
        subject, _ = words_of(results, state.frame, state.query)
        layer = f"layer {format_place(results.layers[state.layer], results.layers)}"
        numbers = f"Numbers are of {layer}, {describe_heads(state, results.heads)}"
        return Caption(capitalise(f"{subject}:"), f"{results.describe_missing_maps()}.", f"{numbers}.")
    subject, which = words_of(results, state.frame, state.query)
    if state.query.kind == "text":
        phase = "prefix"
    else:
        phase = f"suffix, step {results.steps[state.step] if results.steps else 0}"
        time = describe_time(results, state.frame, state.step)
        phase += f", t = {time:.1f}" if time is not None else ""
    verb = LOOK if len(state.query.items) > 1 else LOOKS
    place = f"({which}, {phase}) {verb}" if which else f"({phase}) {verb}"
    details = [
        f"layer {format_place(results.layers[state.layer], results.layers)}",
        describe_heads(state, results.heads),
    ]
    details.append("raw weights" if state.measure == "weight" else "weight × value norm")
    if state.unit == "uniform":
        details.append("times uniform")
    if state.left_out:
        left_out = ", ".join("BOS" if name == "bos" else name for name in state.left_out)
        details.append(f"without {left_out}, renormalised")
    if difference:
        details.append(f"minus {difference}")
    else:
        details += _describe_scale(state)
    return Caption(subject, place, " · ".join([*filter(None, [describe_region(state)]), *details]))


def _describe_scale(state: ViewState) -> list[str]:
    """Return what the colours span, and their scale unless it is linear."""
    one_scale = "one scale for all cameras"
    scope = {"uniform": "one scale from 1 × uniform" if state.measure not in FROM_EFFECTS else one_scale,
             "shared": one_scale,
             "map": "a scale for each camera", "locked": "locked scale"}  # fmt: skip
    return [scope[state.range], *({"log": ["log colours"], "rank": ["colours by rank"]}.get(state.scale, []))]


def _caption_of_effect(results: Results, state: ViewState, difference: str) -> Caption:
    """Return the caption of an effect map; of the region's effect where exactly that was measured."""
    effect_map = effects.find_map(results, state.frame, state.query, state.measure, state.dim)
    if effect_map is None:
        reason = effects.find_map_unavailable_reason(results, state.frame, state.measure, state.dim)
        return Caption("No effects:" if state.measure == "effect" else "No gradients:", f"{reason}.", "")
    last = [f"minus {difference}"] if difference else _describe_scale(state)
    last += filter(None, [describe_region(state)])
    target = effects.find_region_effect(results, state.frame, state.region)
    if target is not None and effect_map.dims is None:
        who, moves = effects.describe_target(target, state.query)
        actions = state.query.items if state.query.kind == "action" else ()
        noise = format_noise(target.noise_floor(actions), target.seeds)
        return Caption(capitalise(who), moves, " · ".join(filter(None, [noise, *last])))
    who, _ = effects.name_map_effect(state, effect_map)
    text, largest = effects.describe_map(results, state, effect_map)
    noise = format_noise(effect_map.floor, effect_map.seeds)
    return Caption(capitalise(who), text, " · ".join(filter(None, [largest, noise, *last])))


def create_effects_caption(results: Results, state: ViewState) -> Caption:
    """Return the caption of effect maps of several frames: how they were made, without the numbers of one frame."""
    effect_map = effects.find_map(results, state.frame, state.query, state.measure, state.dim)
    if effect_map is None:
        return caption(results, state)
    who, _ = effects.name_map_effect(state, effect_map)
    seeds = "" if effect_map.is_gradient or not effect_map.seeds else f"noise of {effect_map.seeds} seeds"
    return Caption(
        capitalise(who),
        effects.describe_maps(state, effect_map),
        " · ".join(filter(None, [seeds, *_describe_scale(state)])),
    )
