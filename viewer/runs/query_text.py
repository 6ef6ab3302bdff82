"""Words, actions and frames of a query as a user writes them in one field or option. No Qt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from viewer.model.number_ranges import parse_range
from viewer.runs.query import ALL_ACTIONS, is_actions

if TYPE_CHECKING:
    from viewer.runs.query import RunQuery

ALL: Final = "all"


def parse_subject(text: str) -> tuple[str, str] | None:
    """Return words and actions that a text names, of which one is empty; None for actions that cannot be."""
    if text.casefold() == "all actions":
        return "", ALL_ACTIONS
    match = re.fullmatch(r"actions?\s+([\d\s,–-]+|all)", text, re.IGNORECASE)
    if match is None:
        return text, ""
    actions = match[1].strip().replace("–", "-").casefold()
    return ("", actions) if is_actions(actions) else None


def format_subject(query: RunQuery) -> str:
    """Return the text that `parse_subject` reads."""
    return query.subject.title if query.actions else query.words


def parse_frames(text: str) -> dict[str, Any] | None:
    """Return the fields of a query that a text such as `all`, `0-20` or `0-50%` sets; None where it sets none."""
    bare = text.replace(" ", "").replace("–", "-").casefold()
    if bare in {"", ALL}:
        return {"frames": None, "times": (0.0, 1.0)}
    match = re.fullmatch(r"([\d.]{1,8})%?-([\d.]{1,8})%", bare)
    if match is not None:
        try:
            first, last = float(match[1]) / 100, float(match[2]) / 100
        except ValueError:
            return None
        return {"frames": None, "times": (first, last)} if 0 <= first < last <= 1 else None
    ends = parse_range(bare)
    if ends is None or ends[0] > ends[1]:
        return None
    return {"frames": ends, "times": (0.0, 1.0)}


def format_frames(query: RunQuery) -> str:
    """Return the text that `parse_frames` reads."""
    if query.frames is not None:
        first, last = query.frames
        return str(first) if first == last else f"{first}-{last}"
    if query.times != (0.0, 1.0):
        return f"{100 * query.times[0]:g}-{100 * query.times[1]:g}%"
    return ALL
