from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.model.number_ranges import find_ranges, format_numbers, format_place, format_range, parse_range


def test_neighbours_are_written_as_a_range() -> None:
    assert format_numbers([1, 2, 3, 7]) == "1–3, 7"
    assert format_numbers([4, 6, 7], dash="-", separator="+") == "4+6-7"
    assert format_numbers([]) == ""


@pytest.mark.parametrize(
    ("number", "numbers", "text"),
    [(1, range(4), "1 of 0–3"), (6, (0, 3, 6, 9), "6 of 0…9"), (5, (5,), "5"), (17, (16, 17), "17 of 16–17")],
)
def test_place_on_an_axis_names_the_stored_numbers(number: int, numbers: tuple[int, ...], text: str) -> None:
    assert format_place(number, numbers) == text


@given(st.sets(st.integers(0, 10**6), max_size=30))
def test_parsed_ranges_are_the_numbers_that_were_written(numbers: set[int]) -> None:
    text = format_numbers(sorted(numbers), dash="-", separator=" ")
    ranges = [parse_range(part) for part in text.split()]
    assert ranges == find_ranges(sorted(numbers))
    assert {number for first, last in ranges for number in range(first, last + 1)} == numbers


@pytest.mark.parametrize("text", ["", "-", "4-", "-4", "4-5-6", "4,5", "four", "1" * 10])
def test_other_text_is_no_range(text: str) -> None:
    assert parse_range(text) is None


def test_range_of_one_number_is_that_number() -> None:
    assert (format_range((4, 4)), format_range((4, 7), "-")) == ("4", "4-7")
    assert (parse_range("4"), parse_range("7-4")) == ((4, 4), (7, 4))
