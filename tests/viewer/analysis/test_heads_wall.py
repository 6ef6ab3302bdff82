"""The heads on the wall, their order and their one colour range; and the layout of its tiles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from viewer.analysis import scene as scenes
from viewer.analysis.atlas import score_heads
from viewer.analysis.heads_wall import MOST_HEADS, read_heads_wall
from viewer.model import attention
from viewer.model.view_state import Query, ViewState
from viewer.model.wall_layout import arrange_tiles

if TYPE_CHECKING:
    from viewer.io.results import Results

VIEW = ViewState(query=Query("action", (1,)), step=2, layer=1, wall="layer")


@pytest.mark.parametrize(("score", "sign"), [("picture", -1), ("entropy", 1)])
def test_heads_of_a_layer_are_sorted_best_first(results: Results, score: str, sign: int) -> None:
    view = replace(VIEW, score=score)
    wall = read_heads_wall(results, view)
    assert sorted(wall.heads) == [(1, head) for head in range(results.heads)]
    assert (np.diff(np.array(wall.scores) * sign) >= 0).all()
    expected = score_heads(results, view)
    assert wall.scores == pytest.approx([expected[head] for head in wall.heads])


def test_best_heads_are_of_all_layers(results: Results) -> None:
    wall = read_heads_wall(results, replace(VIEW, wall="best"))
    count = len(results.layers) * results.heads
    assert len(wall.heads) == min(MOST_HEADS, count)
    assert len({layer for layer, _ in wall.heads}) > 1
    assert wall.scores[0] == pytest.approx(float(score_heads(results, VIEW)[:, :-1].max()))


@pytest.mark.parametrize("unit", ["weight", "uniform"])
def test_tile_holds_the_map_of_its_head_on_the_one_range(results: Results, unit: str) -> None:
    view = replace(VIEW, unit=unit, left_out=("bos",))
    wall = read_heads_wall(results, view)
    ends = []
    for index, (layer, head) in enumerate(wall.heads):
        scene = scenes.compose(results, replace(view, layer=layer, heads=(head,)))
        assert wall.maps[index] == pytest.approx(scene.maps, rel=1e-5)
        ends.append(attention.color_range(scene.maps, "shared", 0, 0)[0][1])
        assert wall.low == pytest.approx(scene.uniform)
    assert wall.high == pytest.approx(max(float(np.median(ends)), 8 * wall.low), rel=1e-5)
    locked = read_heads_wall(results, replace(view, range="locked", low=0.1, high=0.3))
    assert (locked.low, locked.high) == (0.1, 0.3)


def test_tiles_use_the_arrangement_with_the_largest_pictures() -> None:
    """24 pairs of wide pictures: side by side, or stacked in 8 columns, which leaves more of the area unused."""
    tiles, columns = arrange_tiles(2200, 1300, 24, (16 / 9, 16 / 9), 10, 18)
    used = sum(w * h for tile in tiles for _, _, w, h in tile.pictures)
    assert columns == 4
    assert used > 0.68 * 2200 * 1300


@pytest.mark.parametrize(("width", "height", "count"), [(963, 650, 24), (2100, 1250, 8), (300, 900, 5), (963, 650, 1)])
@pytest.mark.parametrize("shapes", [(16 / 9, 16 / 9), (4 / 3,), (16 / 9, 1.0, 4 / 3)])
def test_tiles_fit_and_do_not_overlap(width: int, height: int, count: int, shapes: tuple[float, ...]) -> None:
    tiles, columns = arrange_tiles(width, height, count, shapes, 10, 18)
    assert len(tiles) == count
    assert 1 <= columns <= count
    for tile in tiles:
        assert 0 <= tile.left <= tile.left + tile.width <= width
        assert 0 <= tile.top <= tile.top + tile.height <= height
        assert all(
            w / h == pytest.approx(shape, rel=0.1) for (_, _, w, h), shape in zip(tile.pictures, shapes, strict=True)
        )
    boxes = [picture for tile in tiles for picture in tile.pictures]
    for number, (x, y, w, h) in enumerate(boxes):
        for box in boxes[:number]:
            is_apart = x >= box[0] + box[2] or box[0] >= x + w or y >= box[1] + box[3] or box[1] >= y + h
            assert is_apart
