"""The wall of heads as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from export_driver import open_export

from viewer.analysis.heads_wall import read_heads_wall
from viewer.errors import UserError
from viewer.export import metadata
from viewer.export.figures.walls import WallContent
from viewer.model.view_state import ViewState, from_json

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


def test_wall_of_a_layer_is_sorted_by_score_and_reopens_as_a_wall(
    app: QApplication, small: Path, tmp_path: Path
) -> None:
    words = ["wall", str(small), "--words", "duck", "--layers", "1,3", "--score", "entropy", "-o", str(tmp_path)]
    with open_export(*words) as export:
        assert [file.path.name for file in export.plan.files] == [
            "prefix_wall_L1_entropy_duck.png", "prefix_wall_L3_entropy_duck.png",
        ]  # fmt: skip
        file = export.plan.files[1]
        figure = export.renderer.create_figure(file)
        assert isinstance(figure.content, WallContent)
        wall = read_heads_wall(export.source.results, file.view)
        assert [name for name, _ in figure.content.titles] == [f"Layer 3, head {head}" for _, head in wall.heads]
        numbers = [float(number.split()[0]) for _, number in figure.content.titles]
        assert numbers == sorted(numbers), "low entropy comes first"
        assert (figure.scales[0].low, figure.scales[0].high) == (wall.low, wall.high)
        assert "layer 3, its 3 heads, sorted by entropy" in figure.title
        assert "one scale for all heads: 1 × uniform" in figure.title
        export.renderer.write(file)
        back = from_json(metadata.read_view(str(file.path)))
        assert (back.wall, back.layer, back.score) == ("layer", 3, "entropy")


def test_wall_of_the_best_heads_is_one_file_for_all_layers(app: QApplication, small: Path, tmp_path: Path) -> None:
    view = ViewState(wall="best", layer=2, score="picture").to_json()
    with open_export("wall", str(small), "--view", view, "-o", str(tmp_path)) as export:
        [file] = export.plan.files
        assert file.path.name == "prefix_wall_best_picture_BOS.png"
        figure = export.renderer.create_figure(file)
        assert isinstance(figure.content, WallContent)
        assert len({name.split(",")[0] for name, _ in figure.content.titles}) > 1, "heads of several layers"
        assert "the best 12 heads of all layers" in figure.title
    with (
        pytest.raises(UserError, match="leave --layers out"),
        open_export("wall", str(small), "--heads-of", "best", "--layers", "1"),
    ):
        pass
    with open_export("summary", str(small), "--view", view) as export:
        assert export.plan.files[0].view.wall == "off", "other figures are not of a wall"


def test_score_unavailable_for_the_query_is_refused(app: QApplication, small: Path) -> None:
    with (
        open_export("wall", str(small), "--words", "duck", "--score", "change") as export,
        pytest.raises(UserError, match="Heads cannot be sorted by"),
    ):
        export.renderer.create_figure(export.plan.files[0])
