from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.number_ranges import format_numbers, parse_ranges


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("4", [(4, 4)]),
        ("4,10, 15-17", [(4, 4), (10, 10), (15, 17)]),
        ("7-5", [(7, 5)]),
        ("", None),
        ("4,", None),
        ("-4", None),
        ("1 - 2", None),
        ("1-2-3", None),
        ("one", None),
    ],
)
def test_parse_ranges_returns_the_ends_of_each_part(text: str, ranges: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(text) == ranges


def test_format_numbers_joins_neighbours() -> None:
    assert format_numbers([2, 5, 6, 7]) == "2, 5-7"
    assert format_numbers([0, 1, 9], ",") == "0-1,9"
    assert format_numbers([]) == ""


@given(st.sets(st.integers(0, 200), min_size=1))
def test_parse_ranges_reads_what_format_numbers_writes(numbers: set[int]) -> None:
    ranges = parse_ranges(format_numbers(sorted(numbers)))
    assert ranges is not None
    assert {number for first, last in ranges for number in range(first, last + 1)} == numbers
