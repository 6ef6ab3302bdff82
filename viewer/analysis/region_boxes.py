"""Regions as boxes of patches, as command lines and files have them. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viewer.model.number_ranges import find_ranges, format_range

if TYPE_CHECKING:
    from collections.abc import Collection

    from viewer.io.results import Results
    from viewer.model.view_state import Cell


class Box(NamedTuple):
    """A rectangle of patches of one camera: first and last row, first and last column."""

    camera: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    def __str__(self) -> str:
        """Return the box as the command line writes it: exterior:4-7,8-11."""
        return f"{self.camera}:{format_range(self.rows, '-')},{format_range(self.columns, '-')}"


def find_boxes(results: Results, cells: Collection[Cell]) -> tuple[Box, ...]:
    """Return patches as boxes: neighbouring columns of a row form a span, rows below each other with one span a box."""
    boxes: list[Box] = []
    for number, camera in enumerate(results.cameras):
        first_rows: dict[tuple[int, int], int] = {}  # of the boxes that the row above belongs to
        for row in range(results.grid.rows + 1):
            spans = find_ranges([col for col in range(results.grid.cols) if (number, row, col) in cells])
            for span in [span for span in first_rows if span not in spans]:
                boxes.append(Box(camera, (first_rows.pop(span), row - 1), span))
            for span in spans:
                first_rows.setdefault(span, row)
    return tuple(boxes)
