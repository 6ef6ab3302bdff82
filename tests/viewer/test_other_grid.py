"""A file with 8 x 10 patches of a picture of 112 x 140 pixels: nothing assumes Pi0.5's 16 x 16 of 224 x 224."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest
from PySide6.QtCore import QPointF
from window_driver import close, show, spin

from viewer.analysis import scene
from viewer.analysis.atlas import score_heads
from viewer.analysis.film import read_film, read_film_over_frames
from viewer.export.__main__ import main
from viewer.io.results import Results
from viewer.model.geometry import PatchGrid
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

SHAPE, PICTURE = (8, 10), (112, 140)
ACTION = Query("action", (1,))


@pytest.fixture(scope="module")
def other_grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_results.Recipe(grid=SHAPE, model_picture=PICTURE, turned=("wrist",))
    return make_results.write(tmp_path_factory.mktemp("grid") / "grid.h5", recipe)


@pytest.fixture
def opened(other_grid: Path) -> Iterator[Results]:
    results = Results(other_grid)
    yield results
    results.close()


def test_grid_and_bars_are_read_from_the_file(opened: Results) -> None:
    assert opened.grid == PatchGrid(8, 10, 112, 140)
    assert np.array_equal(opened.bars(0)[0], make_results.bars(72, 128, SHAPE, PICTURE))
    assert opened.bars(0)[0].any()
    dims = opened.dims(0)
    assert (dims.rows, dims.cols) == SHAPE
    view = ViewState(region=((0, 7, 9), (0, 8, 0), (0, 0, 10), (1, 0, 0)))
    assert view.clamped(dims).region == ((0, 7, 9), (1, 0, 0))


def test_maps_scores_and_films_have_the_files_grid(opened: Results) -> None:
    with h5py.File(opened.path, locking=False) as file:
        maps = file["action/to_image"][0, :, 1, 2].astype("f4")  # (layers, heads, cameras, rows, cols)
        mass = file["action/mass"][0, 1, 1, 2, 0]
    view = ViewState(query=ACTION, layer=1, step=2, heads=(0,), region=((0, 4, 7), (1, 3, 9)))
    composed = scene.compose(opened, view)
    assert np.array_equal(composed.maps, maps[1, 0])
    assert list(composed.mass.values()) == pytest.approx(mass.tolist(), abs=1e-3)
    region = score_heads(opened, ViewState(query=ACTION, step=2, score="region", region=view.region))
    assert region[:, :-1] == pytest.approx(maps[:, :, 0, 4, 7] + maps[:, :, 1, 3, 9], rel=1e-4)
    assert np.array_equal(read_film(opened, view).maps[0], maps[:, 0])
    over_frames = read_film_over_frames(opened, view, (0, 2), lambda: False)
    assert over_frames is not None
    assert np.array_equal(over_frames.maps[0, 0], maps[1, 0])


def test_table_and_figures_have_the_files_grid(app: QApplication, other_grid: Path, tmp_path: Path) -> None:
    choice = ["--actions", "2", "--layers", "1", "--steps", "2", "-o", str(tmp_path)]
    region = ["--region", "wrist:3-7,9"]
    assert main(["table", str(other_grid), "--of", "maps", "--heads", "0", *choice, *region]) == 0
    with (tmp_path / "grid" / "table.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 8 * 10
    assert {(row["row"], row["col"]) for row in rows if row["in region"] == "True"} == {
        (str(r), "9") for r in range(3, 8)
    }
    for kind in ("summary", "film", "atlas"):
        words = [word for word in choice if kind != "atlas" or word not in {"--layers", "1"}]
        assert main([kind, str(other_grid), *words]) == 0


def test_region_outside_the_grid_gets_one_sentence(
    other_grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(other_grid), "--region", "wrist:8,0", "-o", str(tmp_path)]) == 2
    assert "rows run from 0 to 7, columns to 9" in capsys.readouterr().err


@pytest.mark.parametrize("picture", ["source", "model"])
def test_panes_find_the_patch_under_the_pointer(
    app: QApplication, other_grid: Path, tmp_path: Path, picture: str
) -> None:
    window = show(other_grid, tmp_path, query=ACTION, picture=picture, region=((0, 4, 7),))
    try:
        spin()
        pane = window.panels.camera_grid.panes[0]
        area = pane.area()
        patches = {
            pane.cell_at(QPointF(area.left() + x, area.top() + y))
            for x in range(1, int(area.width()))
            for y in range(1, int(area.height()))
        } - {None}
        shown_rows = (
            range(8) if picture == "model" else np.flatnonzero(~make_results.bars(72, 128, SHAPE, PICTURE)[:, 0])
        )
        assert patches == {(0, row, col) for row in shown_rows for col in range(10)}
        assert not window.grab().isNull()
    finally:
        close(window)
