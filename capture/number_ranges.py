"""Lists of whole numbers as text: `2,5-7` and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_PART: Final = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def parse_ranges(text: str) -> list[tuple[int, int]] | None:
    """Return the first and last number of each part of `2,5-7`, here (2, 2) and (5, 7); None for other text.

    A range may run backwards, which is for the caller to refuse.
    """
    ranges = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            return None
        ranges.append((int(match[1]), int(match[2] or match[1])))
    return ranges


def format_numbers(numbers: Iterable[int], separator: str = ", ") -> str:
    """Return numbers in rising order as text, with neighbours as a range: 2, 5, 6, 7 as `2, 5-7`."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return separator.join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
