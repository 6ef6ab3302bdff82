"""Which text tokens make one word, state value or mark: the words that people choose. numpy and the standard library.

The viewer's strip of words and the summaries of a results file (`scores/text/*`) count words by this one rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from capture.results.schema import ROLES

PAD = ROLES.index("pad")


def group_tokens(
    roles: npt.NDArray[np.integer],
    words: npt.NDArray[np.integer],
    state_indices: npt.NDArray[np.integer],
    pieces: Sequence[str],
) -> list[tuple[int, ...]]:
    """Return the tokens of each word, state value and mark of one frame, in reading order.

    `roles`, `words`, `state_indices` (T,) and the T `pieces` as stored in `text/*`. Pieces of one word belong together,
    and so do the digits of one state value; padding is left out. A piece without a word is by itself, except a blank,
    which joins what is before it if that has the same role.
    """
    groups: list[tuple[tuple[object, ...], list[int]]] = []
    for token, role in enumerate(roles.tolist()):
        if role == PAD or not 0 <= role < len(ROLES):
            continue
        if state_indices[token] >= 0:
            key: tuple[object, ...] = ("state value", int(state_indices[token]))
        elif words[token] >= 0:
            key = (role, "word", int(words[token]))
        else:
            key = (role, "piece", token)
            blank = ROLES[role] != "newline" and not strip_blanks(pieces[token]) and ROLES[role] != "bos"
            if blank and groups and groups[-1][0][0] == role:
                groups[-1][1].append(token)
                continue
        if groups and groups[-1][0] == key:
            groups[-1][1].append(token)
        else:
            groups.append((key, [token]))
    return [tuple(tokens) for _, tokens in groups]


def word_numbers(groups: Sequence[Sequence[int]], tokens: int) -> npt.NDArray[np.int32]:
    """Return the number of the word that each of T tokens belongs to, -1 for none: (T,)."""
    numbers = np.full(tokens, -1, np.int32)
    for number, group in enumerate(groups):
        numbers[list(group)] = number
    return numbers


def strip_blanks(piece: str) -> str:
    """Return a token's spelling without blanks at its ends, which the vocabulary writes as U+2581."""
    return piece.replace("\u2581", " ").strip(" ")
