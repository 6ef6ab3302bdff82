"""Effects of removing each word of the prompt, with its other words as controls. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.effects.measured import name_actions
from viewer.model.noise_multiples import format_multiple

if TYPE_CHECKING:
    from viewer.io.effects import Effects
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.effects import Method
    from viewer.model.view_state import Query

PROMPT: Final = "prompt"
"""Role of the words that are compared with each other."""


@dataclass(frozen=True, eq=False)
class WordEffects:
    """Effects of leaving out each word of a frame's text on some actions, all measured in one way."""

    words: Floats
    """(chips,) multiples of the noise; NaN for words that were not removed."""
    tokens: Floats
    """(T,) the same for each text token."""
    prompt: npt.NDArray[np.bool_]
    """(chips,) whether a chip is a word of the prompt."""
    floor: float
    """The noise floor of the actions, in the policy's normalised units."""
    method: Method

    def controls(self, chip: int) -> Floats:
        """Return the effects of the prompt's other words."""
        others = self.prompt.copy()
        others[chip] = False
        values = self.words[others]
        return values[np.isfinite(values)]


def find_word_effects(results: Results, frame: int, query: Query) -> WordEffects | None:
    """Return the effects of words on a query's actions, for words on the whole chunk; None where none was measured.

    They come from the first effects file that has some, which measured all of them in one way.
    """
    if not results.tokens:
        return None
    whole = query.kind != "action" or len(query.items) == results.horizon
    actions = () if whole else query.items
    candidates = (
        _read_word_effects(results, effect, frame, actions) for effect in results.effects if frame in effect.frames
    )
    return next((effects_of_words for effects_of_words in candidates if effects_of_words is not None), None)


def find_word_relevances(results: Results, frame: int, query: Query, dim: int | None) -> Floats | None:
    """Return the relevance by gradients of each text token for a query's actions, (T,); for words for all actions.

    `dim`: the action dimension that was differentiated, None for the mean of those measured. None where there is none.
    """
    actions = query.items if query.kind == "action" else ()
    candidates = (effect.word_relevances(frame, actions, dim) for effect in results.effects)
    return next((relevances for relevances in candidates if relevances is not None), None)


def _read_word_effects(results: Results, effects: Effects, frame: int, actions: tuple[int, ...]) -> WordEffects | None:
    chips = results.chips(frame)
    mapped = effects.word_effects(frame, actions)
    tokens = np.full(results.tokens, np.nan, np.float32) if mapped is None else mapped.copy()
    for target in effects.target_effects(frame):
        indices = list(target.tokens)
        # Of several words, or of one in several places, it is not the effect of one chip.
        is_one = target.kind == "word" and any(chip.tokens == target.tokens for chip in chips)
        if is_one and not np.isfinite(tokens[indices]).any():
            tokens[indices] = target.compare_with_noise(actions).multiple
    words = np.array([tokens[chip.tokens[0]] if chip.tokens else np.nan for chip in chips], np.float32)
    if not np.isfinite(words).any():
        return None
    prompt = np.array([chip.role == PROMPT for chip in chips], bool)
    return WordEffects(words, tokens, prompt, effects.floor(frame, actions), effects.method)


def describe_word(word_effects: WordEffects, chip: int, query: Query) -> str:
    """Return the effect of leaving out one word, with the noise and what the prompt's other words do.

    action 7 moves 1.2 × the noise when it is hidden from the actions; noise floor 0.031; when another word
    of the prompt is: 0.3 × the noise (median), 4 of 5 smaller
    """
    who, verb = name_actions(query)
    value = float(word_effects.words[chip])
    if not np.isfinite(value):
        return "its effect was not measured"
    text = f"{who} {verb} {format_multiple(value)} the noise when it is {word_effects.method.phrase}"
    text += f"; noise floor {word_effects.floor:.2g} (normalised units)"
    controls = word_effects.controls(chip)
    if controls.size:
        smaller = int((controls < value).sum())
        text += (
            f"; when another word of the prompt is: {format_multiple(float(np.median(controls)))} the noise (median), "
            f"{smaller} of {controls.size} smaller"
        )
    return text
