"""Boxes of patches as text: `exterior:4-7,8-11`. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.errors import UserError
from viewer.model.number_ranges import parse_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.io.results import Results
    from viewer.model.view_state import Cell


def parse_region(results: Results, boxes: Sequence[str]) -> tuple[Cell, ...]:
    """Return the patches (camera, row, col) of boxes such as `exterior:4-7,8-11`, rows before columns, from 0.

    Raises:
        UserError: A box cannot be read, or names a camera or patches that the file does not have.
    """
    cells: set[Cell] = set()
    for box in boxes:
        name, _, ranges = box.rpartition(":")
        rows, _, columns = ranges.partition(",")
        (top, bottom), (left, right) = parse_range(rows) or (-1, -1), parse_range(columns) or (-1, -1)
        if not name or top < 0 or left < 0:
            raise UserError(f"--region {box} cannot be read; write camera:rows,columns, such as exterior:4-7,8-11.")
        if name not in results.cameras:
            raise UserError(f"There is no camera {name}; the file has {', '.join(results.cameras)}.")
        rows_of, cols_of = results.grid.shape
        if not (top <= bottom < rows_of and left <= right < cols_of):
            raise UserError(
                f"--region {box} is no box of patches; rows run from 0 to {rows_of - 1}, columns to {cols_of - 1}."
            )
        camera = results.cameras.index(name)
        cells |= {(camera, row, col) for row in range(top, bottom + 1) for col in range(left, right + 1)}
    return tuple(sorted(cells))
