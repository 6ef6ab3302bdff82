"""The prompt as tokens: the text that is really fed, and which of its characters each token covers.

Roles, words and state values are read off the tokenizer's character spans, never counted: a prompt may itself
hold "State:" or a semicolon, and a state value takes two to four tokens.
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
"""Text tokens that Pi0.5 was trained with, begin-of-sequence included."""

STATE_BINS: Final = 256

_AFTER_STATE: Final = ";\nAction: "

Role = Literal["bos", "template", "prompt", "state", "newline"]


def clean_prompt(prompt: str) -> str:
    """A task as it stands in the prompt: blanks off both ends, then `_` and newlines become spaces."""
    return prompt.strip().replace("_", " ").replace("\n", " ")


def state_bins(state: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Bins, (S,), of a normalised state: how many of the 256 left edges -1 + k/128 are <= the value, minus 1.

    Not clipped: below -1 it is -1, from 1 - 1/128 on it is 255 (openpi `tokenizer.py`).
    """
    edges = np.linspace(-1.0, 1.0, STATE_BINS + 1)[:-1]
    return np.asarray(np.digitize(state, edges) - 1, dtype=np.int64)


@dataclass(frozen=True)
class _Part:
    """A stretch of the prompt whose role is known because we put it there."""

    role: Role
    text: str
    state_index: int = -1


def _parts(task: str, bins: Sequence[int] | None) -> list[_Part]:
    if bins is None:
        return [_Part("prompt", task), _Part("newline", "\n")]
    # The space before a value is a token of its own, and belongs to that value.
    values = [_Part("state", f" {value}", k) for k, value in enumerate(bins)] or [_Part("template", " ")]
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
    prompt: str, state: npt.NDArray[np.floating] | None, tokenizer: Tokenizer, *, max_tokens: int = MAX_TOKENS
) -> TokenTable:
    r"""The tokens of a task and an already normalised state, or of the task alone where `state` is None.

    With a state the text is `Task: {task}, State: {bins};\nAction: `; without, the task and, encoded apart from it,
    a newline (openpi `tokenizer.py`, lerobot `processor_pi05.py`). A token belongs to the role, word and value of its
    first character that is not blank. Raises UserError for a prompt that is no valid text.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError("the prompt holds bytes that are not valid UTF-8 text; type it anew") from error
    if "\0" in prompt:
        raise UserError("the prompt holds a NUL character; type it anew")

    parts = _parts(clean_prompt(prompt), None if state is None else state_bins(state).tolist())
    text = "".join(part.text for part in parts)
    if state is None:
        task = parts[0].text
        newline = [Piece(p.id, p.text, p.start + len(task), p.stop + len(task)) for p in tokenizer.encode("\n")]
        pieces = [*tokenizer.encode(task), *newline]
    else:
        pieces = tokenizer.encode(text)

    roles, words, values = _characters(parts)
    rows = [(tokenizer.bos, 0, 0, ROLES.index("bos"), -1, -1)]
    for piece in pieces:
        inside = range(piece.start, piece.stop)
        anchor = next((c for c in inside if not text[c].isspace()), min(piece.start, len(text) - 1))
        rows.append((piece.id, piece.start, piece.stop, roles[anchor], words[anchor], values[anchor]))
    table = np.array(rows[:max_tokens], dtype=np.int32)  # (n, 6)
    ids, start, stop, role, word, value = table.T.copy()
    # Numbers without gaps: a word whose characters all went into a neighbour's token has none of its own.
    word[word >= 0] = np.unique(word[word >= 0], return_inverse=True)[1]
    fed = ("<bos>", *(piece.text for piece in pieces))[:max_tokens]
    dropped = len(rows) - len(table)
    state_dropped = dropped > 0 and bool(stop[-1] < text.rfind(_AFTER_STATE))  # no task holds a newline
    return TokenTable(text, ids, start, stop, role, word, value, fed, dropped, state_dropped)


def _characters(parts: Sequence[_Part]) -> tuple[list[int], list[int], list[int]]:
    """Role, word and state value of every character of the text; blanks have no word, but for those before a value."""
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
