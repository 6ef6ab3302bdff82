"""Bytes and seconds in words."""

from __future__ import annotations

import pytest

from capture.cli.units import format_bytes, format_seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (43_200_000, "43.2 MB"), (1_500, "1.5 kB"), (4e11, "400 GB"), (2.5e13, "25 TB")],
)
def test_format_bytes(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5340, "89 min"), (8040, "2 h 14 min")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
