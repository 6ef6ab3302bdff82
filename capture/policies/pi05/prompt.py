"""The prompt's text and tokens, and which characters of the text each token covers.

The role, word and state value of a token come from the tokenizer's character spans, not from counting tokens: a prompt
may itself contain "State:" or a semicolon, and a state value takes two to four tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.policies.base import TokenTable
from capture.policies.tokenizer import Piece, Tokenizer
from capture.results.schema import ROLES

MAX_TOKENS: Final = 200
"""Maximum number of text tokens in Pi0.5's training, begin-of-sequence included."""

STATE_BINS: Final = 256

_AFTER_STATE: Final = ";\nAction: "

Role = Literal["bos", "template", "prompt", "state", "newline"]


def clean_prompt(prompt: str) -> str:
    """Return a task as it appears in the prompt: whitespace stripped, then `_` and newlines replaced by spaces."""
    return prompt.strip().replace("_", " ").replace("\n", " ")


def state_bins(state: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the bins (S,) int64 of a normalised state: the number of left edges -1 + k/128 <= the value, minus 1.

    There are 256 edges. Not clipped: values below -1 get -1, values from 1 - 1/128 on get 255 (openpi `tokenizer.py`).
    """
    edges = np.linspace(-1.0, 1.0, STATE_BINS + 1)[:-1]
    return np.asarray(np.digitize(state, edges) - 1, dtype=np.int64)


@dataclass(frozen=True)
class _Part:
    """A substring of the prompt with a known role."""

    role: Role
    text: str
    state_index: int = -1


def _parts(task: str, bins: Sequence[int] | None, size: int | None) -> list[_Part]:
    if bins is None:
        return [_Part("prompt", task), _Part("newline", "\n")]
    # The space before a value is a separate token, which counts as part of that value.
    count = len(bins) if size is None else size
    values = [_Part("state", f" {value}", index) for index, value in enumerate(bins[:count])] or [
        _Part("template", " ")
    ]
    values += [_Part("template", f" {value}") for value in bins[count:]]  # padding is no value of the robot's
    return [
        _Part("template", "Task: "),
        _Part("prompt", task),
        _Part("template", ", State:"),
        *values,
        _Part("template", ";"),
        _Part("newline", "\n"),
        _Part("template", "Action: "),
    ]


def tokenise(
    prompt: str,
    state: npt.NDArray[np.floating] | None,
    tokenizer: Tokenizer,
    *,
    max_tokens: int = MAX_TOKENS,
    state_size: int | None = None,
) -> TokenTable:
    r"""Return the tokens of a task and an already normalised state, or of the task alone if `state` is None.

    With a state the text is `Task: {task}, State: {bins};\nAction: `; without, it is the task and a separately encoded
    newline (openpi `tokenizer.py`, lerobot `processor_pi05.py`). A token takes the role, word and value of its
    first non-blank character. `state_size`: how many of the state's numbers are the robot's; the padding behind them
    counts as template. None for all. Raises UserError for a prompt that is not valid UTF-8 or contains NUL.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError("the prompt holds bytes that are not valid UTF-8 text; type it anew") from error
    if "\0" in prompt:
        raise UserError("the prompt holds a NUL character; type it anew")

    bins = None if state is None else state_bins(state)
    parts = _parts(clean_prompt(prompt), None if bins is None else bins.tolist(), state_size)
    text = "".join(part.text for part in parts)
    if state is None:
        task = parts[0].text
        newline = [
            Piece(token.id, token.text, token.start + len(task), token.stop + len(task))
            for token in tokenizer.encode("\n")
        ]
        pieces = [*tokenizer.encode(task), *newline]
    else:
        pieces = tokenizer.encode(text)

    roles, words, values = _characters(parts)
    rows = [(tokenizer.bos, 0, 0, ROLES.index("bos"), -1, -1)]
    for piece in pieces:
        inside = range(piece.start, piece.stop)
        anchor = next(
            (character for character in inside if not text[character].isspace()), min(piece.start, len(text) - 1)
        )
        rows.append((piece.id, piece.start, piece.stop, roles[anchor], words[anchor], values[anchor]))
    table = np.array(rows[:max_tokens], dtype=np.int32)  # (n, 6)
    ids, start, stop, role, word, value = table.T.copy()
    # Renumber without gaps: a word whose characters all lie in a neighbour's token has no token.
    word[word >= 0] = np.unique(word[word >= 0], return_inverse=True)[1]
    fed = ("<bos>", *(piece.text for piece in pieces))[:max_tokens]
    dropped = len(rows) - len(table)
    state_dropped = dropped > 0 and bool(stop[-1] < text.rfind(_AFTER_STATE))  # a task contains no newline
    robot = slice(state_size)
    beyond = () if state is None else tuple(np.flatnonzero(np.abs(state[robot]) > 1).tolist())
    known_bins = None if bins is None else bins[robot]
    return TokenTable(text, ids, start, stop, role, word, value, fed, dropped, state_dropped, known_bins, beyond)


def _characters(parts: Sequence[_Part]) -> tuple[list[int], list[int], list[int]]:
    """Return role, word and state value of each character; a blank has no word, except the one before a state value."""
    roles, words, values = [], [], []
    count = 0
    for part in parts:
        roles += [ROLES.index(part.role)] * len(part.text)
        values += [part.state_index] * len(part.text)
        for run in re.findall(r"\s+|\S+", part.text):
            blank = run.isspace()
            words += [(count if part.role == "state" else -1) if blank else count] * len(run)
            count += not blank
    return roles, words, values
