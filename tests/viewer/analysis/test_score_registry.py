"""A score that is registered once appears in the atlas, tables, figures, menus, help and the command line."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from window_driver import spin

from viewer.analysis.atlas import score_heads
from viewer.analysis.initial_view import parse_view
from viewer.analysis.scores import SCORES, Score, find_score
from viewer.errors import UserError
from viewer.export.__main__ import main
from viewer.model.view_state import Query, ViewState
from viewer.widgets.overlays import help_sheet

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.io.results import Results
    from viewer.widgets.main_window import MainWindow

LARGEST = Score(
    name="largest",
    title="largest weight",
    axis="largest weight of a patch",
    phrase="largest weight of a patch",
    description="Largest weight of one patch.",
    unit="%",
    column="largest weight",
    compute=lambda query: query.maps.max((3, 4, 5)),
)


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch, small: Path) -> np.ndarray:
    """The registry with one more score, and what it is for action 1 at step 1 of the small file: (layers, heads)."""
    monkeypatch.setitem(SCORES, LARGEST.name, LARGEST)
    with h5py.File(small, locking=False) as file:
        return file["action/to_image"][0, :, 1, 1].astype("f4").max((2, 3, 4))


def test_registered_score_is_shown_by_the_atlas(largest: np.ndarray, results: Results) -> None:
    values = score_heads(results, ViewState(query=Query("action", (1,)), step=1, score="largest"))
    assert values[:, :-1] == pytest.approx(largest)


def test_registered_score_has_a_table_column(largest: np.ndarray, small: Path, tmp_path: Path) -> None:
    assert main(["table", str(small), "--actions", "1", "--steps", "1", "-o", str(tmp_path)]) == 0
    with (tmp_path / "small" / "table.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["largest weight"]) for row in rows] == pytest.approx(largest.ravel().tolist(), rel=1e-5)


def test_registered_score_is_a_choice_of_the_command_line(
    app: QApplication, largest: np.ndarray, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["atlas", str(small), "--actions", "1", "--steps", "1", "-o", str(tmp_path)]
    assert main([*words, "--score", "largest"]) == 0
    assert len(list((tmp_path / "small").rglob("*.*"))) == 1
    with pytest.raises(SystemExit):
        main(["table", "-h"])
    assert "largest weight Largest weight of one patch." in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--score", "smallest"]) == 2
    assert "largest" in capsys.readouterr().err


def test_registered_score_is_in_the_windows_menu_and_help(largest: np.ndarray, window: MainWindow) -> None:
    window.session.update(query=Query("action", (1,)), step=1, score="largest", layer=2, heads=(1,))
    spin()
    assert "largest weight" in [action.text() for action in window.panels.atlas.score.menu().actions()]
    assert window.panels.atlas.explain(2, 1).startswith(f"Layer 2, head 1: largest weight {100 * largest[2, 1]:.1f} %")
    assert "Largest weight of one patch." in help_sheet.create_scores_html()


def test_unknown_score_is_one_sentence(results: Results) -> None:
    sentence = (
        "There is no score “ioa”; take one of picture, entropy, region, lift, hit, iou, change, agreement, deletion, "
        "insertion, knockout."
    )
    for attempt in (
        lambda: find_score("ioa"),
        lambda: score_heads(results, ViewState(score="ioa")),
        lambda: parse_view('{"score": "ioa"}'),
    ):
        with pytest.raises(UserError) as error:
            attempt()
        assert str(error.value) == sentence
