"""Linear and logarithmic axes: positions of values, and labels that do not overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.rendering.axes import Axis, label_places, make_share_axis
from viewer.rendering.ticks import Tick


def width(text: str) -> float:
    return 7.0 * len(text)


def texts(ticks: tuple[Tick, ...]) -> list[str]:
    return [tick.text for tick in ticks]


def test_place_of_a_linear_axis() -> None:
    positions = Axis(2, 6).place([2, 4, 6, 8, np.nan])
    np.testing.assert_allclose(positions, [0, 0.5, 1, 1.5, np.nan])


def test_place_of_a_logarithmic_axis_puts_zero_at_its_start() -> None:
    positions = Axis(0.001, 1, is_log=True).place([0.001, 0.01, 1, 0, -1, np.nan])
    np.testing.assert_allclose(positions, [0, 1 / 3, 1, 0, 0, np.nan])


def test_place_of_an_axis_of_one_value_is_its_middle() -> None:
    np.testing.assert_array_equal(Axis(0, 0).place([0, np.nan]), [0.5, np.nan])


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e4), st.floats(0, 1), st.booleans())
def test_value_at_is_the_inverse_of_place(low: float, ratio: float, part: float, log: bool) -> None:
    axis = Axis(low, low * ratio, is_log=log)
    assert float(axis.place(axis.value_at(part))) == pytest.approx(part, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "log", "ends", "labels"),
    [
        ([0.0, 0.37], False, (0, 0.4), ["0 %", "10 %", "20 %", "30 %", "40 %"]),
        ([0.97, np.nan], False, (0, 1), ["0 %", "50 %", "100 %"]),
        ([0.003, 0.3], True, (0.001, 0.3), ["0.1 %", "1 %", "10 %"]),
        ([0.0, 0.3], True, (0.03, 0.3), ["5 %", "10 %", "20 %"]),
        ([], False, (0, 1e-6), None),
    ],
)
def test_share_axis_ends_and_labels(
    values: list[float], log: bool, ends: tuple[float, float], labels: list[str] | None
) -> None:
    axis = make_share_axis(np.array(values), is_log=log)
    assert (axis.low, axis.high) == pytest.approx(ends)
    if labels is not None:
        assert texts(axis.ticks(200, lambda _: 12)) == labels


def test_ticks_get_fewer_where_there_is_no_room() -> None:
    axis = make_share_axis(np.array([0.002, 0.9]), is_log=True)
    assert len(axis.ticks(1000, width)) > len(axis.ticks(90, width)) >= 1


@given(st.integers(1, 400), st.floats(30, 900), st.floats(0, 1), st.floats(0, 1))
def test_labels_of_places_do_not_overlap_and_are_visible(
    count: int, length: float, end: float, other_end: float
) -> None:
    low, high = sorted((end * (count - 1), other_end * (count - 1)))
    axis = Axis(low, high)
    labels = label_places([f"{n}" for n in range(count)], axis, length, width)
    values = [tick.value for tick in labels]
    assert all(low - 1e-6 <= value <= high + 1e-6 for value in values)
    assert texts(labels) == [str(round(value)) for value in values]
    if len(labels) > 1:
        distances = np.diff(axis.place(values)) * length
        assert distances.min() >= max(map(width, texts(labels))) - 1e-6


def test_labels_of_all_places_stand_where_they_have_room() -> None:
    assert texts(label_places((0, 3, 17), Axis(0, 2), 200, width)) == ["0", "3", "17"]
    assert texts(label_places(range(18), Axis(0, 17), 150, width)) == ["0", "5", "10", "15"]
    assert label_places((), Axis(0, 1), 200, width) == ()
