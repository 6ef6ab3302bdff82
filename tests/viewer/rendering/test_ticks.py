"""Ticks are round, stand at their values, and never have the same text twice."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.rendering.ticks import (
    Tick,
    find_axis_top,
    find_label_step,
    find_log_ticks,
    find_ticks,
    fit_ticks,
    format_number,
    format_share,
    round_step,
)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def texts(ticks: tuple[Tick, ...]) -> list[str]:
    return [tick.text for tick in ticks]


@given(st.floats(1e-9, 1e9), st.floats(-3, 3), st.integers(2, 12))
def test_ticks_equal_their_texts_and_no_text_repeats(span: float, start: float, limit: int) -> None:
    low = start * span
    ticks = find_ticks(low, low + span, limit)
    assert len(ticks) <= limit
    assert len(set(texts(ticks))) == len(ticks)
    for tick in ticks:
        assert low <= tick.value <= low + span
        assert number(tick.text) == pytest.approx(tick.value, rel=1e-6, abs=1e-5 * span)


@pytest.mark.parametrize(
    ("low", "high", "limit", "expected"),
    [
        (0, 0.0028, 4, ["0", "0.001", "0.002"]),
        (0, 0.00186, 5, ["0", "0.0005", "0.0010", "0.0015"]),
        (0, 0.023, 6, ["0", "0.005", "0.010", "0.015", "0.020"]),
        (-0.04, 0.04, 5, ["−0.04", "−0.02", "0", "0.02", "0.04"]),
        (0, 7.3e-5, 5, ["0", "2e−5", "4e−5", "6e−5"]),
        (0, 2.6e-6, 6, ["0", "1e−6", "2e−6"]),
        (0, 3e7, 4, ["0", "1e7", "2e7", "3e7"]),
        (3, 3, 5, []),
        (0, math.nan, 5, []),
        (0, math.inf, 5, []),
    ],
)
def test_find_ticks_returns_short_texts(low: float, high: float, limit: int, expected: list[str]) -> None:
    assert texts(find_ticks(low, high, limit)) == expected


def test_find_ticks_of_shares_and_whole_numbers() -> None:
    assert texts(find_ticks(0, 0.4, factor=100, unit="%")) == ["0 %", "10 %", "20 %", "30 %", "40 %"]
    assert texts(find_ticks(0, 0.0004, factor=100, unit="%")) == ["0 %", "0.01 %", "0.02 %", "0.03 %", "0.04 %"]
    assert texts(find_ticks(0, 3, 9, whole=True)) == ["0", "1", "2", "3"]
    assert texts(find_ticks(7, 49, 5, whole=True)) == ["20", "40"]


@given(st.floats(1e-6, 1e3), st.floats(20, 600))
def test_fitted_texts_do_not_overlap(high: float, length: float) -> None:
    ticks = fit_ticks(0, high, length, lambda text: 7.0 * len(text), gap=6)
    assert ticks
    widest = max(7.0 * len(tick.text) for tick in ticks)
    for first, second in pairwise(ticks):
        assert (second.value - first.value) / high * length >= widest + 6 - 1e-6


def test_log_ticks_are_decades_or_finer() -> None:
    assert texts(find_log_ticks(2.3e-5, 0.023, 5)) == ["0.0001", "0.001", "0.01"]
    assert texts(find_log_ticks(0.011, 0.09, 5)) == ["0.02", "0.05"]
    assert texts(find_log_ticks(1e-6, 1, 4)) == ["1e−6", "0.0001", "0.01", "1"]
    assert find_log_ticks(0, 1) == ()


@given(st.floats(1e-6, 1), st.integers(3, 9))
def test_axis_of_weights_ends_at_its_last_tick_and_never_above_1(largest: float, limit: int) -> None:
    top = find_axis_top(largest, limit, ceiling=1.0)
    assert largest * (1 - 1e-5) <= top <= 1
    assert top == 1 or find_ticks(0, top, limit)[-1].value == pytest.approx(top)


def test_find_axis_top_rounds_up() -> None:
    assert find_axis_top(0.37) == pytest.approx(0.4)
    assert find_axis_top(0.97) == 1
    assert find_axis_top(1.16, ceiling=1.0) == 1
    assert find_axis_top(1.16) == pytest.approx(1.5)
    assert find_axis_top(0) == 1


@pytest.mark.parametrize(("least", "step"), [(0.3, 0.5), (1, 1), (1.01, 2), (21, 50), (0.02, 0.02), (0, 1)])
def test_round_step_is_the_next_round_number(least: float, step: float) -> None:
    assert round_step(least) == step


def test_round_step_of_whole_numbers_is_at_least_1() -> None:
    assert round_step(0.2, whole=True) == 1


@pytest.mark.parametrize(("count", "length", "step"), [(4, 400, 1), (18, 288, 2), (300, 600, 10), (5000, 600, 200)])
def test_label_step_leaves_room_for_each_label(count: int, length: float, step: int) -> None:
    assert find_label_step(count, 12, length) == step


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.00143, 2, "0.0014"), (0.00093, 2, "0.00093"), (0.0995, 2, "0.10"), (0.09, 2, "0.090"), (1.16, 2, "1.2"),
        (12.34, 3, "12.3"), (1234.5, 2, "1234"), (2.34e-5, 2, "2.3e−5"), (-0.02345, 4, "−0.02345"), (0, 2, "0"),
        (math.nan, 2, "–"), (9.99e-5, 2, "0.00010"), (99.6, 2, "100"),
    ],
)  # fmt: skip
def test_format_number_keeps_significant_digits(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


def test_format_share_has_one_decimal() -> None:
    assert format_share(0.0234) == "2.3 %"
    assert format_share(-0.5) == "−50.0 %"
