"""A series over frames holds the frames whose prompt has the words, counts the others, and has gaps there."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from export_driver import open_export, plan_export
from window_driver import close, show, until

from viewer.analysis import scene
from viewer.analysis.curves import read_curves_over_frames
from viewer.analysis.film import read_film_over_frames
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.analysis.query_series import find_line_starts, find_query_series, find_same_query
from viewer.errors import UserError
from viewer.export.__main__ import main
from viewer.export.figures.charts import CurveChart
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

BALL, DUCK = "put the ball in it", "lift the duck"
TASKS = (BALL, BALL, BALL, DUCK, DUCK, BALL, BALL, BALL, "grab ball now", DUCK)
WITH_BALL = (0, 1, 2, 5, 6, 7, 8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of two episodes, six and four long; seven have the word “ball”, in one of them at another place."""
    recipe = make_results.Recipe(
        frames=10, tasks=TASKS, episodes=("one", "two"), layers=2, heads=2, steps=2, size=(36, 64)
    )
    return make_results.write(tmp_path_factory.mktemp("series") / "series.h5", recipe)


@pytest.fixture
def varied(path: Path) -> Iterator[Results]:
    results = Results(path)
    yield results
    results.close()


def ball_of(results: Results, frame: int = 0) -> Query:
    labels = [chip.label for chip in results.chips(frame)]
    return Query("text", (labels.index("ball"),))


def test_series_holds_the_frames_with_the_word_and_counts_the_others(varied: Results) -> None:
    series = find_query_series(varied, ball_of(varied), 0, range(10))
    assert (series.frames, series.left_out) == (WITH_BALL, (3, 4, 9))
    assert series.describe_left_out() == "3 left out, whose prompts lack “ball”"
    with_prompts = find_query_series(varied, ball_of(varied), 0, range(10), TASKS)
    assert with_prompts == series
    assert find_query_series(varied, Query("action", (1,)), 0, range(10)).frames == tuple(range(10))


def test_word_is_found_by_text_at_another_place(varied: Results) -> None:
    assert ball_of(varied, 8) != ball_of(varied, 0)
    assert find_same_query(ball_of(varied), varied, 0, 8) == ball_of(varied, 8)
    assert find_same_query(ball_of(varied), varied, 0, 3) is None
    two_words = Query("text", (*ball_of(varied).items, ball_of(varied).items[0] + 1))  # ball in
    assert find_same_query(two_words, varied, 0, 8) is None, "every word has to be there"


def test_line_begins_anew_at_gaps_and_episodes(varied: Results) -> None:
    timeline = build_frame_timeline(varied)
    assert timeline.starts == (0, 5)
    assert find_line_starts(WITH_BALL, timeline) == (0, 3)
    assert find_line_starts(tuple(range(10)), timeline) == (0, 5)
    assert find_line_starts((0, 2, 4), timeline) == (0,), "every second frame is no gap"
    assert find_line_starts((0, 1, 3, 4), timeline) == (0, 2)


def test_curves_and_film_have_no_value_where_the_word_is_missing(varied: Results) -> None:
    view = ViewState(query=ball_of(varied), layer=1)
    curves = read_curves_over_frames(varied, view, lambda: False)
    assert curves is not None
    assert np.flatnonzero(np.isfinite(curves.values).all(1)).tolist() == list(WITH_BALL)
    film = read_film_over_frames(varied, view, (2, 3, 8), lambda: False)
    assert film is not None
    assert np.isfinite(film.maps[0]).all((1, 2, 3)).tolist() == [True, False, True]
    composed = scene.compose(varied, ViewState(frame=8, query=ball_of(varied, 8), layer=1))
    assert film.maps[0, 2] == pytest.approx(composed.maps, rel=1e-5)


@pytest.mark.parametrize("kind", ["film", "curves"])
def test_figure_over_frames_shows_one_word_and_notes_what_is_left_out(app: QApplication, path: Path, kind: str) -> None:
    with open_export(kind, str(path), "--over", "frames", "--words", "ball") as export:
        (file,) = export.plan.files
        figure = export.renderer.create_figure(file)
        text = " ".join(run.text for paragraph in figure.paragraphs for line in paragraph.lines for _, run in line)
        assert "7 left out" not in text
        assert "frames 0–2, 5–8 of 0–9; 3 left out, whose prompts lack “ball”" in text
        if kind == "film":
            assert figure.content.columns == tuple(map(str, WITH_BALL))  # type: ignore[attr-defined]
        else:
            assert isinstance(figure.content, CurveChart)
            assert figure.content.curves.labels == WITH_BALL
            assert figure.content.curves.starts == (0, 3)
        assert export.plan.notes == ("“ball” is in the prompts of 7 of 10 frames; left out: frames 3–4, 9.",)


def test_video_over_frames_shows_one_word(varied: Results) -> None:
    (file,) = plan_export(varied, "video --over frames --words ball").files
    assert [view.frame for view in file.sweep] == list(WITH_BALL)
    for view in file.sweep:
        assert [varied.chips(view.frame)[item].label for item in view.query.items] == ["ball"]


def test_named_frames_without_the_word_are_left_out_too(varied: Results) -> None:
    (file,) = plan_export(varied, "video --over frames --frames 3-6 --words ball").files
    assert [view.frame for view in file.sweep] == [5, 6]
    with pytest.raises(UserError, match="None of the 2 frames has it. There is no word “ball” in frame 3"):
        plan_export(varied, "film --over frames --frames 3-4 --words ball")


def test_word_of_a_view_is_not_replaced_in_other_frames(varied: Results) -> None:
    view = ViewState(query=ball_of(varied)).to_json()
    plan = plan_export(varied, "summary --frames all --layers 0", "--view", view)
    assert [file.view.frame for file in plan.files] == list(WITH_BALL)
    with pytest.raises(UserError, match="The prompt of frame 3 lacks “ball” of the view"):
        plan_export(varied, "summary --frames 3", "--view", view)
    with pytest.raises(UserError, match="The prompt of frame 4 lacks “ball”"):
        plan_export(varied, "difference --words ball --layers 0 --against frame=4")


def test_table_leaves_out_frames_without_the_word_with_a_note(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--frames all --words ball duck --layers 1 --heads 0"
    assert main(["table", str(path), *words.split(), "-o", str(tmp_path)]) == 0
    with (tmp_path / "series" / "table.csv").open(encoding="utf-8", newline="") as stream:
        lines = [(int(row["frame"]), row["query"]) for row in csv.DictReader(stream)]
    assert lines == [(frame, "ball" if frame in WITH_BALL else "duck") for frame in range(10)]
    assert "pi0-export: “ball” is in the prompts of 7 of 10 frames; left out: frames 3–4, 9." in capsys.readouterr().err


def test_windows_film_and_timeline_leave_out_frames_without_the_word(
    app: QApplication, path: Path, tmp_path: Path
) -> None:
    window = show(path, tmp_path, film="frames", layer=1)
    results = window.session.results
    assert results is not None
    window.session.update(query=ball_of(results))
    panel, series = window.panels.film, window.panels.frame_series
    until(lambda: panel.film() is not None and panel.film().columns == WITH_BALL)  # type: ignore[union-attr]
    assert "3 left out, whose prompts lack “ball”" in panel.note.text
    until(lambda: series.curves is not None and bool(np.isnan(series.curves.values).any()))
    values = window.panels.timeline.values()
    assert values is not None
    assert np.flatnonzero(np.isnan(values).any(1)).tolist() == [3, 4, 9]
    close(window)
