"""The window on a file that keeps the maps of some frames: sentences, and the numbers that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from captured_regions import capture, draw_regions
from window_driver import close, settle, show

from capture.datasets.regions.region_files import RegionFiles
from viewer.io.results import Results
from viewer.model.view_state import Query
from viewer.widgets.overlays.info_sheet import describe_kept

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    capture(folder / "maps.h5")
    regions = RegionFiles(draw_regions(folder / "maps.regions.h5", folder / "maps.h5"))
    capture(folder / "some.h5", maps_every=3, regions=regions)
    return folder / "some.h5"


def test_window_goes_between_frames_with_and_without_maps(app: QApplication, some: Path, tmp_path: Path) -> None:
    results = Results(some)
    assert describe_kept(results) == "summaries; attention maps of 3 frames; scores of cup, lid, hand"
    window = show(some, tmp_path)
    messages: list[str] = []
    window.session.noticed.connect(messages.append)
    region = results.region_cells(0, 0)
    for view in (
        {"frame": 0, "query": Query("action", (1,)), "region": region},
        {"frame": 2, "region": results.region_cells(2, 0), "score": "lift"},
        {"frame": 2, "film": "frames"},
        {"frame": 1, "wall": "best", "query": Query("text", (0, 1)), "score": "entropy"},
        {"frame": 4, "wall": "off", "film": "steps", "thumbnails": True},
        {"frame": 5, "region": (), "thumbnails": False, "measure": "contribution"},
        {"frame": 3, "measure": "weight"},
    ):
        window.session.update(**view)
        settle(window)
        scene = window.session.scene()
        assert scene is not None
        frame = window.session.shown.frame
        assert bool(scene.missing) == (frame % 3 != 0)
        caption = window.panels.sentence.accessibleDescription()
        assert ("were not kept" in caption) == (frame % 3 != 0), caption
        assert sum(scene.mass.values()) == pytest.approx(1, abs=1e-5)
        if "score" in view and view["score"] == "lift":
            scores = window.panels.atlas.scores()
            assert scores is not None
            assert np.isfinite(scores).all()
            assert "lift" in window.status.left()
    assert messages == []
    close(window)
