"""Chips: the text tokens of one frame, joined to words, state values and other marks, in reading order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.results.schema import ROLES
from capture.results.word_groups import group_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.model.view_state import Word


class Chip(NamedTuple):
    """One word, state value or mark in the strip of words, made of one or several text tokens."""

    tokens: tuple[int, ...]
    role: str
    label: str
    """The text on the chip."""
    text: str
    """The characters of the prompt that it covers, for matching two prompts."""
    state_index: int = -1
    """Which value of the state it spells, from 0; -1 for none."""
    ordinal: int = 0
    """Its number among the chips of its role, from 0."""


def chips(
    roles: npt.NDArray[np.integer],
    words: npt.NDArray[np.integer],
    state_indices: npt.NDArray[np.integer],
    pieces: Sequence[str],
    spans: npt.NDArray[np.integer],
    text: str,
    state: npt.NDArray[np.floating] | None,
) -> tuple[Chip, ...]:
    """Return the chips of one frame's T text tokens.

    `roles`, `words`, `state_indices` (T,) as stored, `spans` (T, 2) character spans in `text`, `state` (S,) or None.
    Pieces of one word make one chip, and so do the digits of one state value; padding is left out. A piece without a
    word is a chip by itself, except a blank, which joins the chip before it if that has the same role.
    """
    grouped: list[Chip] = []
    counts = dict.fromkeys(ROLES, 0)
    for tokens in group_tokens(roles, words, state_indices, pieces):
        role_name = ROLES[int(roles[tokens[0]])]
        covered = _find_covered_text(tokens, pieces, spans, text)
        index = int(state_indices[tokens[0]])
        label = _name_token(role_name, covered, index, state)
        grouped.append(Chip(tokens, role_name, label, covered, index, counts[role_name]))
        counts[role_name] += 1
    return tuple(grouped)


def _find_covered_text(tokens: Sequence[int], pieces: Sequence[str], spans: npt.NDArray[np.integer], text: str) -> str:
    start, stop = int(spans[tokens[0], 0]), int(spans[tokens[-1], 1])
    if 0 <= start < stop <= len(text):
        return text[start:stop].strip(" ")
    return "".join(pieces[token] for token in tokens).replace("\u2581", " ").strip(" ")


def _name_token(role: str, covered: str, index: int, state: npt.NDArray[np.floating] | None) -> str:
    if role == "bos":
        return "BOS"
    if role == "newline":
        return "↵"
    if index >= 0:
        value = covered
        if state is not None and index < len(state) and np.isfinite(state[index]):
            value = f"{float(state[index]):.2f}".replace("-", "−")
        return f"s{index} {value}"
    return covered.replace("\n", "↵") or "␣"


def align(chip: Chip | Word, others: Sequence[Chip]) -> int | None:
    """Return the place of the same chip among `others`, by its text or its state value; None if there is none."""
    same = [place for place, other in enumerate(others) if (other.role, other.text) == (chip.role, chip.text)]
    if chip.state_index >= 0:
        same = [place for place, other in enumerate(others) if other.state_index == chip.state_index]
    if not same:
        return None
    return min(same, key=lambda place: abs(others[place].ordinal - chip.ordinal))
