"""Values of the token strips: how much each word and action looks at the pictures, a patch or the region. No Qt.

Where effects are shown, a word has the effect of leaving it out instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis.effects.word_effects import find_word_effects, find_word_relevances
from viewer.model import attention
from viewer.model.view_state import FROM_EFFECTS

if TYPE_CHECKING:
    from viewer.analysis.effects.word_effects import WordEffects
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, Kind, ViewState


@dataclass(frozen=True, eq=False)
class Strips:
    """Values of both strips at the shown layer, step and heads."""

    words: Floats
    """(chips,): a chip of several tokens has their mean."""
    actions: Floats
    """(H,)"""
    subject: str
    """What the values are the weight on: `pictures`, `patch` or `region`. Of `effect`, the values of words are
    multiples of the noise, of `gradient` relevances; those of actions are NaN."""
    effects: WordEffects | None = None
    """Where the values of words come from, if they are effects; None if none was measured."""

    @cached_property
    def low(self) -> float:
        """Lower end of the colour range: the smallest value of both strips, and half the largest at most."""
        if self.subject in FROM_EFFECTS:
            return 0.0
        values = np.concatenate([self.words, self.actions])
        values = values[np.isfinite(values)]
        return min(float(values.min(initial=np.inf)), self.top / 2)

    @cached_property
    def top(self) -> float:
        """Upper end of the colour range: the largest value of both strips."""
        values = np.concatenate([self.words, self.actions])
        return max(float(values[np.isfinite(values)].max(initial=0)), 1e-12)


def _token_values(results: Results, state: ViewState, kind: Kind, pointer: Cell | None) -> Floats:
    """Return the values of all words or all actions: (tokens,) float."""
    heads = list(state.heads) if state.heads else slice(None)
    if not results.has_maps(state.frame):
        pointer = None
        if state.region:
            return _stored_region_values(results, state, kind)
    if pointer is None and not state.region:
        stored = _picture_mass(results, state.frame, kind)
        if stored is not None:
            at = stored[state.layer, :, state.step] if kind == "action" else stored[state.layer]
            return attention.reduce_axis(at[:, heads], 1, state.reduce)
    images = results.layer_images(state.frame, kind, state.layer, state.step)[:, heads]
    if not images.size:
        return np.zeros(len(images), np.float32)
    if pointer is not None:
        values = attention.to_float32(np.ascontiguousarray(images[:, :, pointer[0], pointer[1], pointer[2]]))
    elif state.region:
        camera, row, col = np.array(state.region).T
        values = attention.to_float32(np.ascontiguousarray(images[:, :, camera, row, col])).sum(-1)
    else:
        keep = ~results.bars(state.frame)
        values = attention.to_float32(np.ascontiguousarray(images[:, :, keep])).sum(-1)
    return attention.reduce_axis(values, 1, state.reduce)


def _stored_region_values(results: Results, state: ViewState, kind: Kind) -> Floats:
    """Return the weight on a region as it was scored while capturing, (tokens,); a word's for each token of it."""
    place = results.find_region(state.frame, state.region)
    values = None if place is None else results.region_score(state.frame, kind, "mass", place)
    if values is None:
        results.require_maps(state.frame)
        return np.zeros(results.tokens if kind == "text" else results.horizon, np.float32)
    at = values[:, state.layer, min(state.step, values.shape[2] - 1)]  # (items, heads)
    mass = attention.reduce_axis(at[:, list(state.heads)] if state.heads else at, 1, state.reduce)
    if kind == "action":
        return mass
    tokens = np.zeros(results.tokens, np.float32)
    for chip, value in zip(results.chips(state.frame), mass, strict=False):
        tokens[list(chip.tokens)] = value
    return tokens


def _picture_mass(results: Results, frame: int, kind: Kind) -> Floats | None:
    """Return every row's stored share on the pictures: text (layers, T, heads), action (layers, H, steps, heads)."""

    def make() -> Floats | None:
        stored = results.mass(frame, kind)
        if stored is None:
            return None
        total: Floats = stored[..., [results.groups.index(camera) for camera in results.cameras]].sum(-1)
        return total

    return results.remember(("picture mass", frame, kind), make, lambda values: 0 if values is None else values.nbytes)


def _create_chip_matrix(results: Results, frame: int) -> Floats:
    """Return the matrix that averages tokens to chips: (chips, T)."""

    def make() -> Floats:
        chips = results.chips(frame)
        matrix = np.zeros((len(chips), results.tokens), np.float32)
        for number, chip in enumerate(chips):
            matrix[number, list(chip.tokens)] = 1 / max(len(chip.tokens), 1)
        return matrix

    return results.remember(("joining", frame), make, lambda values: values.nbytes)


def strips(results: Results, state: ViewState, pointer: Cell | None) -> Strips:
    """Return the weight on the patch under the pointer, else on the region, else on the pictures.

    With the measure `effect`, the effect of leaving out each word on the actions of the view's query; with `gradient`
    its relevance for them.
    """
    if state.measure == "gradient":
        relevances = find_word_relevances(results, state.frame, state.query, state.dim)
        none = np.full(len(results.chips(state.frame)), np.nan, np.float32)
        words = none if relevances is None else _create_chip_matrix(results, state.frame) @ np.nan_to_num(relevances)
        return Strips(words, np.full(results.horizon, np.nan, np.float32), "gradient")
    if state.measure == "effect":
        effects = find_word_effects(results, state.frame, state.query)
        none = np.full(len(results.chips(state.frame)), np.nan, np.float32)
        words = none if effects is None else effects.words
        return Strips(words, np.full(results.horizon, np.nan, np.float32), "effect", effects)
    tokens = _token_values(results, state, "text", pointer) if results.tokens else np.zeros(0, np.float32)
    joining = _create_chip_matrix(results, state.frame)
    words = joining @ tokens if len(tokens) == joining.shape[1] else np.zeros(len(joining), np.float32)
    actions = _token_values(results, state, "action", pointer) if results.horizon else np.zeros(0, np.float32)
    subject = "patch" if pointer is not None else "region" if state.region else "pictures"
    return Strips(words, actions, subject)
