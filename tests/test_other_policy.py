"""From a policy that is not Pi0.5 to the window: both halves take the sizes from the results file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from synthetic_episodes import ProgressLog, SyntheticEpisode
from toy_policy import GRID, SIZES, ToySpec

from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)


class ToyEpisode(SyntheticEpisode):
    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        return {"top": (48, 96), "front": (60, 60)}


@pytest.fixture(scope="module")
def results_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy.h5"
    setup = Setup(ToySpec(), RunOptions(torch.device("cpu"), torch.float32), "none")
    outcome = run_jobs(setup, [Job(path, ToyEpisode(length=3))], ProgressLog())
    assert outcome.files[0].failure is None
    return path


def test_viewer_opens_the_results_of_another_policy(results_path: Path) -> None:
    from viewer.io.results import Results

    results = Results(results_path)
    dims = results.dims(0)
    assert (dims.layers, dims.heads, dims.steps, dims.actions) == (2, 3, SIZES.denoise_steps, SIZES.horizon)
    assert (dims.cameras, dims.rows, dims.cols) == (2, *GRID)
    results.close()


def test_window_shows_the_results_of_another_policy(
    results_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PySide6.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    assert application is not None
    from window_driver import close, settle, show

    from viewer.model.view_state import Query
    from viewer.rendering import theme

    errors: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: errors.append(error))
    theme.apply("dark")
    window = show(results_path, tmp_path, query=Query("action", (2,)), layer=1)
    with_heat = window.grab().toImage()
    window.session.update(opacity=0.0)
    settle(window)
    without_heat = window.grab().toImage()
    assert with_heat != without_heat
    close(window)
    assert not errors
