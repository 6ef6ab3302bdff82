"""Lists of whole numbers as text: 1, 2, 3, 7 as `1–3, 7`, and back; places on an axis as `1 of 0–3`.

Frames, actions, layers, heads, denoise steps, text tokens and state values carry their stored numbers, from 0, wherever
they are shown, typed or stored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Range = tuple[int, int]
"""First and last number, both included."""


def find_ranges(numbers: Iterable[int]) -> list[Range]:
    """Return the ranges of neighbours in ascending numbers."""
    ranges: list[Range] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ranges


def format_range(ends: Range, dash: str = "–") -> str:
    """Return `4` or `4–7`."""
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}{dash}{ends[1]}"


def format_numbers(numbers: Iterable[int], dash: str = "–", separator: str = ", ") -> str:
    """Return ascending numbers as text, neighbours as a range: `1–3, 7`."""
    return separator.join(format_range(ends, dash) for ends in find_ranges(numbers))


def format_place(number: int, numbers: Sequence[int]) -> str:
    """Return a number and the ascending numbers that there are: `1 of 0–3`, `3 of 0…9` if some of them are missing."""
    if len(numbers) < 2:
        return str(number)
    dash = "–" if len(numbers) == numbers[-1] - numbers[0] + 1 else "…"
    return f"{number} of {numbers[0]}{dash}{numbers[-1]}"


def parse_range(text: str) -> Range | None:
    """Return the ends of `4` or `4-7`, which may run backwards; None for other text."""
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text)
    return None if match is None else (int(match[1]), int(match[2] or match[1]))
