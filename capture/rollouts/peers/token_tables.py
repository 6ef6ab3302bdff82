"""Token tables of prompts that another code base tokenised: which characters, words and state values the ids spell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.policies.base import TokenTable
from capture.policies.pi05.prompt import STATE_BINS, tokenise
from capture.policies.tokenizer import JsonTokenizer, SentencePieceTokenizer, Tokenizer
from capture.results.schema import ROLES

WRITTEN: Final = re.compile(r"Task: (?P<task>.*), State: (?P<bins>-?\d+(?: -?\d+)*)?;\nAction: ", re.DOTALL)
"""The prompt of Pi0.5 with the state in it, as openpi and lerobot write it."""


def wrap_tokenizer(tokenizer: Any) -> Tokenizer | None:
    """Return a tokenizer for what a policy tokenises with; None where it is of no known kind.

    `tokenizer`: a SentencePieceProcessor, an object that holds one as `_tokenizer` (openpi's PaligemmaTokenizer), or a
    tokenizer of transformers. The policy's own is never changed.
    """
    inner = getattr(tokenizer, "_tokenizer", None)
    try:
        for candidate in (tokenizer, inner):
            if hasattr(candidate, "serialized_model_proto"):
                return SentencePieceTokenizer.from_processor(candidate, "the policy's tokenizer")
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            return JsonTokenizer.from_json(backend.to_str(), str(getattr(tokenizer, "name_or_path", "") or "tokenizer"))
    except (UserError, AttributeError, TypeError, ValueError):
        return None
    return None


def read_written_prompt(text: str) -> tuple[str, npt.NDArray[np.float64] | None]:
    """Return the task of a prompt as written for the model, and its state in [-1, 1]; None where it has none.

    Values are the middles of the bins that the prompt spells, so that they spell the same bins again.
    """
    match = WRITTEN.fullmatch(text)
    if match is None:
        return text.strip(), None
    bins = np.array([int(number) for number in (match["bins"] or "").split()], np.float64)
    return match["task"], (bins + 0.5) * 2 / STATE_BINS - 1


def describe_tokens(
    ids: npt.NDArray[np.int64], prompt: str, state: npt.NDArray[np.floating] | None, tokenizer: Tokenizer | None
) -> TokenTable:
    """Return the table of the ids as fed, without padding, (n,).

    `prompt`: the task; `state`: in [-1, 1], None where it is not in the prompt. Where the tokenizer is unknown, or
    spells this task with other ids, each id counts as a word of the prompt.
    """
    if tokenizer is not None:
        for known in (state, None) if state is not None else (None,):
            table = tokenise(prompt, known, tokenizer, max_tokens=len(ids))
            if np.array_equal(table.ids, ids):
                return table
    return _describe_unknown([f"<{token_id}>" for token_id in ids], ids)


def _describe_unknown(pieces: Sequence[str], ids: npt.NDArray[np.int64]) -> TokenTable:
    stop = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)  # (n,)
    start = np.concatenate([[0], stop[:-1]]).astype(np.int32)  # (n,)
    role = np.full(len(ids), ROLES.index("prompt"), np.int32)
    role[0] = ROLES.index("bos")
    return TokenTable(
        text="".join(pieces),
        ids=ids.astype(np.int32),
        start=start,
        stop=stop,
        role=role,
        word=np.arange(-1, len(ids) - 1, dtype=np.int32),
        state_index=np.full(len(ids), -1, np.int32),
        pieces=tuple(pieces),
    )
