"""Read the text of options that name frames, layers, words, patches or groups of a file. No Qt."""

from __future__ import annotations

import hashlib
import re
from math import inf
from typing import TYPE_CHECKING, Any, Final

from viewer.errors import MissingWordError, UserError
from viewer.export.request import NamedQuery
from viewer.model.attention import SINKS
from viewer.model.number_ranges import format_numbers, parse_range
from viewer.model.view_state import SHARED_RANGES, Query
from viewer.runs.words import find_query_of_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.export.request import PhaseQueries
    from viewer.io.results import Results
    from viewer.model.words import Chip


MOST_CHARACTERS: Final = 60
"""Of one part of a file's name."""


def parse_positions(text: str, labels: Sequence[int], noun: str) -> tuple[int, ...]:
    """Return positions on an axis from text such as `4,10,15-17`, `all` or `last`.

    `labels` are the numbers by which the file calls the positions, and `noun` is what they number.

    Raises:
        UserError: The text cannot be read, or names a number that the file does not have.
    """
    if text == "all":
        return tuple(range(len(labels)))
    if text == "last" and labels:
        return (len(labels) - 1,)
    positions: set[int] = set()
    for part in text.replace(",", " ").split():
        ends = parse_range(part)
        if ends is None:
            raise UserError(f"“{part}” is no {noun}; write numbers such as 4,10,15-17, or all, or last.")
        first, last = ends
        for end in ends:
            if end not in labels:
                raise UserError(f"There is no {noun} {end}; the file has {noun}s {format_numbers(sorted(labels))}.")
        if first > last:
            raise UserError(f"“{part}” runs backwards; write {last}-{first}.")
        positions |= {position for position, label in enumerate(labels) if first <= label <= last}
    if not positions:
        raise UserError(f"No {noun} is named; write numbers such as 4,10,15-17, or all, or last.")
    return tuple(sorted(positions))


def parse_color_range(text: str) -> dict[str, Any]:
    """Return the fields of a view that `uniform`, `shared`, `map`, `set` or `0:0.03` sets; none for an empty text.

    Raises:
        UserError: The text cannot be read, or the range is empty.
    """
    if text in {"", "set"}:
        return {"range": "uniform"} if text else {}
    if text in {*SHARED_RANGES, "map"}:
        return {"range": text}
    low_text, _, high_text = text.partition(":")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        raise UserError(f"--range {text} cannot be read; write uniform, shared, map, set or 0:0.03.") from None
    if not -inf < low < high < inf:
        raise UserError(f"--range {text} is empty; the lower end comes first, as in 0:0.03.")
    return {"range": "locked", "low": low, "high": high}


def find_words(results: Results, frame: int, text: str) -> NamedQuery:
    """Return the query of one or several words of a frame, found by their text in any case.

    A word of the prompt goes before one of the same text elsewhere in the prefix.

    Raises:
        UserError: The frame has no such word; the message names those that it has.
    """
    return NamedQuery(find_query_of_words(results, frame, text), text, frame)


def describe_undefined(results: Results, frames: Sequence[int], queries: Sequence[PhaseQueries]) -> tuple[str, ...]:
    """Return a sentence where scores of several words or actions together need maps that were not kept."""
    without = [frame for frame in frames if not results.has_maps(frame)]
    is_mean = any(len(named.query.items) > 1 for phase in queries for frame in phase.by_frame for named in frame)
    if not without or not is_mean:
        return ()
    listed = f"frame{'s' * (len(without) > 1)} {format_numbers(without)}"
    return (f"Entropy, hit and IoU90 of several words or actions together need maps and are nan in {listed}.",)


def name_query(chips: Sequence[Chip], query: Query) -> str:
    """Return the words of a query as its name, with its tokens where the text has the same words elsewhere too."""
    picked = [item for item in query.items if item < len(chips)]
    labels = {chips[item].label for item in picked}
    name = " ".join(chips[item].label for item in picked)
    if sum(chip.label in labels for chip in chips) == len(picked):
        return name
    tokens = sorted(token for item in picked for token in chips[item].tokens)
    return f"{name} (token {format_numbers(tokens, '-', '+')})"


def find_words_of_tokens(results: Results, frame: int, text: str) -> Query:
    """Return the query of the words that hold the file's text tokens of these numbers.

    Raises:
        UserError: There are no such tokens, or they are padding in this frame.
    """
    tokens = parse_positions(text, range(results.tokens), "text token")
    items = {item for item, chip in enumerate(results.chips(frame)) if set(chip.tokens) & set(tokens)}
    if not items:
        raise MissingWordError(f"Text token {text} is padding in frame {frame}; take one that belongs to a word.")
    return Query("text", tuple(sorted(items)))


def parse_groups(results: Results, texts: Sequence[str]) -> tuple[str, ...]:
    """Return the groups of keys that are left out, in the file's order.

    Raises:
        UserError: The file has no such group; the message names those that it has.
    """
    groups = ["bars", *(name for name in results.groups if not name.endswith(" bars"))]
    named: set[str] = set()
    for word in (word for text in texts for word in text.split(",") if word):
        if word == "sinks":
            named |= set(SINKS)
        elif word in results.groups or word == "bars":
            named.add(word)
        elif word.casefold() in groups:
            named.add(word.casefold())
        elif word != "none":
            raise UserError(f"There is no group “{word}” to leave out; take {', '.join(groups)}, sinks or none.")
    return tuple(sorted(named, key=[*results.groups, "bars"].index))


def create_slug(name: str) -> str:
    """Return a name that every file system takes."""
    cleaned = re.sub(r"[^\w.+-]+", "_", name, flags=re.UNICODE).strip("._") or "query"
    return cleaned[:MOST_CHARACTERS]


def create_unique_slug(name: str) -> str:
    """Return such a name that differs for different names: one that loses characters ends in a checksum of them."""
    slug = create_slug(name)
    if slug == name.replace(" ", "_"):
        return slug
    return f"{slug[: MOST_CHARACTERS - 7]}-{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:6]}"


def name_folder(results: Results) -> str:
    """Return the name of the folder for what is exported from a file."""
    name = results.path.name.removesuffix(".partial")
    return create_slug(name.rpartition(".")[0] or name)
