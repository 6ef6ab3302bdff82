"""Decisions about the input of the policy, read from a results file without trust. Standard library only."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from viewer.model.plain_text import clean_text

MAX_TEXT: Final = 400
MAX_DECISIONS: Final = 200
MAX_CHARACTERS: Final = 1 << 16
"""Limits of what is read: characters of one text, entries, and characters of the whole list."""


class Decision(NamedTuple):
    """A choice about the input and what it was made by; FORMAT.md describes the attribute `provenance`."""

    subject: str
    choice: str
    reason: str
    is_certain: bool
    """False where neither a file nor an option decided, so that the choice was assumed."""


def parse_decisions(stored: object) -> tuple[Decision, ...] | None:
    """Return the decisions in an attribute's JSON; None where it is absent or no list.

    Entries that are malformed or beyond the limits are left out, each text is one line, and its control characters are
    replaced.
    """
    if not isinstance(stored, str) or len(stored) > MAX_CHARACTERS:
        return None
    try:
        entries = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, list):
        return None
    decisions = (_parse_entry(entry) for entry in entries[:MAX_DECISIONS])
    return tuple(decision for decision in decisions if decision is not None)


def _parse_entry(entry: object) -> Decision | None:
    if not isinstance(entry, dict):
        return None
    subject, choice, reason = (entry.get(key) for key in ("subject", "choice", "reason"))
    is_certain = entry.get("certain")
    if not (isinstance(subject, str) and isinstance(choice, str) and isinstance(reason, str)):
        return None
    if not isinstance(is_certain, bool):
        return None
    subject, choice, reason = (clean_text(" ".join(text.split()), MAX_TEXT) for text in (subject, choice, reason))
    return Decision(subject, choice, reason, is_certain)


def count_assumptions(decisions: tuple[Decision, ...] | None) -> int:
    """Return how many decisions were assumed."""
    return sum(not decision.is_certain for decision in decisions or ())
