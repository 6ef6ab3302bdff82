"""The Run page in a real window, over a real small run in which one head was planted."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from planted_run import BOX, EPISODES, FRAMES, HEADS, LAYERS, PLANTED, write_planted_run
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from run_window import file_name, show_run
from window_driver import close, press, settle, spin, until

from viewer.controllers import commands
from viewer.controllers.runs import run_controller
from viewer.controllers.runs.run_controller import RunController
from viewer.export import metadata
from viewer.model.view_state import ViewState
from viewer.runs.query import RunQuery
from viewer.runs.run_view import RunView, parse_run_view
from viewer.runs.summary import RunSummary
from viewer.widgets.runs.run_export_sheet import RunExportSheet
from viewer.widgets.runs.run_page import RunPage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.runs.answers import RunAtlas
    from viewer.widgets.main_window import MainWindow

SHIFT = Qt.KeyboardModifier.ShiftModifier
QUESTION = RunQuery(score="region", words="duck", region=BOX)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted_run(tmp_path_factory.mktemp("planted") / "planted")


@pytest.fixture(scope="module")
def shared_window(app: QApplication, planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainWindow]:
    made = show_run(planted, tmp_path_factory.mktemp("settings"))
    made.runs.show_page()
    yield made
    close(made)


@pytest.fixture
def window(shared_window: MainWindow) -> MainWindow:
    """A window with the run, which shows the episode that was open last."""
    shared_window.runs.leave_page()
    return shared_window


@pytest.fixture
def page(window: MainWindow) -> RunPage:
    """The Run page with the answer to QUESTION."""
    window.runs.show_page()
    page = shown_page(window)
    page.controller.open_view(RunView(QUESTION))
    until(lambda: has_answer(page.controller), 60)
    settle(window)
    return page


def ask(window: MainWindow, query: RunQuery) -> RunPage:
    page = shown_page(window)
    page.controller.ask(query)
    until(lambda: has_answer(page.controller), 60)
    settle(window)
    return page


def shown_page(window: MainWindow) -> RunPage:
    assert window.runs.page is not None
    return window.runs.page


def has_answer(controller: RunController) -> bool:
    """Whether the answer to what is asked is shown, of all episodes, with its head."""
    atlas, cell = controller.atlas, controller.cell
    return (
        not controller.build.is_running
        and controller.stage.kind == "ready"
        and atlas is not None
        and atlas.query == controller.view.resolved_query
        and cell is not None
        and cell.distribution.query == atlas.query
        and cell.cell == controller.view.cell
    )


def test_shift_r_shows_the_page_and_the_episode_again(window: MainWindow) -> None:
    press(window, Qt.Key.Key_R, SHIFT)
    assert window.runs.is_page_shown
    assert window.top.run.isChecked()
    assert commands.BY_ID["left"].reason(window.acts) == "go back to the episode first (Shift+R)"
    press(window, Qt.Key.Key_R, SHIFT)
    assert window.stack.currentWidget() is window.panels
    assert commands.BY_ID["left"].reason(window.acts) == ""


def test_escape_leaves_the_page(page: RunPage, window: MainWindow) -> None:
    page.atlas.setFocus()
    QTest.keyClick(page.atlas, Qt.Key.Key_Escape)
    assert window.stack.currentWidget() is window.panels


def test_without_a_run_the_page_says_what_to_open(small: Path, tmp_path: Path) -> None:
    window = show_run(small, tmp_path)
    try:
        press(window, Qt.Key.Key_R, SHIFT)
        message = shown_page(window).message
        assert message.title.text() == "No run is open"
        assert [button.text() for button in message.buttons] == ["Open run folder…", "Open the demo’s run", "Back"]
        message.buttons[2].click()
        assert window.stack.currentWidget() is window.panels
    finally:
        close(window)


def test_without_duckdb_the_page_says_what_to_install(page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_controller, "find_missing", lambda: "Answers over a run need duckdb: pip install duckdb.")
    page.controller.ask(replace(QUESTION, score="picture"))
    assert page.message.title.text() == "One package is missing"
    assert page.message.text.text() == "Answers over a run need duckdb: pip install duckdb."
    assert not page.upper.isVisible()


def test_heading_says_what_is_shown_of_how_many_episodes_and_frames(page: RunPage) -> None:
    count = EPISODES * FRAMES
    assert page.heading.text.startswith(
        f"Mass in {BOX} for “duck”: mean over {EPISODES} episodes with {count} frames. Intervals are of 95 %, by a "
        "bootstrap over episodes, not frames: frames of one episode are not independent."
    )
    assert page.heading.accessibleDescription() == page.heading.text


def test_table_has_the_means_of_the_summary_and_finds_the_planted_head(page: RunPage) -> None:
    controller = page.controller
    assert controller.view.cell == PLANTED, "the most telling head is looked at first"
    values = page.atlas.values()
    assert values is not None
    assert values.shape == (LAYERS, HEADS)
    assert np.unravel_index(int(np.nanargmax(values)), values.shape) == PLANTED
    table = page.atlas.data_table()
    assert table is not None
    assert table[0] == ["layer", "head", "mean", "low", "high", "episodes", "frames"]
    planted_row = table[1][PLANTED[0] * HEADS + PLANTED[1]]
    assert planted_row[:2] == [*PLANTED]
    assert planted_row[2] == pytest.approx(values[PLANTED])
    assert planted_row[5:] == [EPISODES, EPISODES * FRAMES]


def test_contrast_marks_the_planted_difference_with_sign_and_effect(page: RunPage, window: MainWindow) -> None:
    page.controls.contrast.click()
    until(lambda: has_answer(page.controller) and page.controller.is_contrast_shown)
    values = page.atlas.values()
    assert values is not None
    assert values[PLANTED] > 0
    assert page.atlas.marks()[PLANTED]
    assert "mean of 4 successes minus mean of 4 failures, 32 frames in all" in page.heading.text
    assert "adjusted by Benjamini and Hochberg at a false discovery rate of 5 %" in page.heading.text
    page.atlas.hover(PLANTED)
    assert page.card is not None
    assert page.card.isVisible()
    lines = page.card.lines
    assert lines[0].startswith("difference +")
    assert lines[1].startswith("effect size g +")
    assert lines[1].endswith("marked")
    assert lines[2].startswith("success: ")
    assert lines[2].endswith("4 episodes, 16 frames")
    until(lambda: page.card is not None and page.card.strips)
    assert [(strip.name, len(strip.values)) for strip in page.card.strips] == [("success", 4), ("failure", 4)]
    page.atlas.hover(None)
    assert not page.card.isVisible()
    assert window.runs.is_page_shown


def test_click_chooses_a_head_and_ranks_the_episodes(page: RunPage) -> None:
    page.atlas.choose(2, 1)
    until(lambda: has_answer(page.controller))
    assert page.controller.view.cell == (2, 1)
    rows = page.ranking.values
    assert rows.rowCount() == EPISODES
    assert [one.value for one in rows.values] == sorted((one.value for one in rows.values), reverse=True)
    text = rows.data(rows.index(0, 0), Qt.ItemDataRole.AccessibleTextRole)
    assert isinstance(text, str)
    assert text.startswith(f"rank 0, {rows.values[0].name}, {rows.values[0].outcome}, ")


def test_chosen_head_stays_when_another_score_is_asked_for(page: RunPage, window: MainWindow) -> None:
    page.atlas.choose(2, 1)
    ask(window, replace(QUESTION, score="picture"))
    assert page.controller.view.cell == (2, 1)


@pytest.mark.parametrize("which", ["typical", "extreme"])
def test_row_opens_the_episode_at_the_frame_with_head_and_words(page: RunPage, window: MainWindow, which: str) -> None:
    window.session.update(region=())
    row = next(place for place, one in enumerate(page.ranking.values.values) if one.file == "episode_000005.h5")
    page.ranking.setCurrentIndex(page.ranking.values.index(row, 0))
    QTest.keyClick(page.ranking, Qt.Key.Key_Return, SHIFT if which == "extreme" else Qt.KeyboardModifier.NoModifier)
    until(lambda: file_name(window) == "episode_000005.h5" and window.session.state.region)
    assert window.stack.currentWidget() is window.panels
    state, results = window.session.state, window.session.results
    assert results is not None
    assert (state.layer, state.heads, state.score) == (PLANTED[0], (PLANTED[1],), "region")
    assert [results.chips(state.frame)[item].text for item in state.query.items] == ["duck"]
    assert state.region == ((0, 6, 5),)
    masses = planted_masses(window)
    mean = float(np.mean(masses))
    order = np.argsort([abs(mass - mean) for mass in masses])
    assert state.frame == order[0 if which == "typical" else -1]
    press(window, Qt.Key.Key_R, SHIFT)
    assert window.runs.is_page_shown
    assert page.controller.view.cell == PLANTED


def planted_masses(window: MainWindow) -> list[float]:
    """Return the weight of “duck” on the region in each frame, by the planted head, as the file holds it."""
    from viewer.analysis.query_attention import QueryAttention
    from viewer.analysis.scores import SCORES

    results, query = window.session.results, window.session.state.query
    assert results is not None
    found = []
    for frame in range(FRAMES):
        attention = QueryAttention(results, frame, query, ((0, 6, 5),), layers=[PLANTED[0]], heads=[PLANTED[1]])
        found.append(float(SCORES["region"].compute(attention)[0, 0, 0]))
    return found


def test_choosing_an_episode_in_the_list_leaves_the_page(page: RunPage, window: MainWindow) -> None:
    assert window.episodes is not None
    window.episodes.after.click()
    until(lambda: window.stack.currentWidget() is window.panels)


def test_curves_have_a_line_and_a_band_for_each_group(page: RunPage) -> None:
    page.controls.contrast.click()
    until(lambda: has_answer(page.controller) and page.controller.is_contrast_shown)
    chart = page.curves.make_chart()
    assert chart is not None
    assert [line.name for line in chart.lines] == ["success", "failure"]
    assert [band.name for band in chart.bands] == ["success", "failure"]
    assert len(chart.xs) == FRAMES, "parts of the time in which no episode has a frame are left out"
    table = page.curves.data_table()
    assert table is not None
    assert table[0][:2] == ["time", "success mean"]
    assert page.curves.read_out_rows(0)[0][2].endswith("4 episodes")


def test_arrow_keys_move_the_chosen_head_and_enter_goes_to_the_episodes(page: RunPage, window: MainWindow) -> None:
    page.atlas.setFocus()
    QTest.keyClick(page.atlas, Qt.Key.Key_Right)
    assert page.controller.view.cell == (PLANTED[0], PLANTED[1] + 1)
    QTest.keyClick(page.atlas, Qt.Key.Key_Down)
    assert page.controller.view.cell == (PLANTED[0] + 1, PLANTED[1] + 1)
    QTest.keyClick(page.atlas, Qt.Key.Key_Return)
    assert window.focusWidget() is page.ranking
    assert page.ranking.currentIndex().row() == 0
    QTest.keyClick(page.ranking, Qt.Key.Key_Escape)
    assert window.focusWidget() is page.atlas


def test_pointer_on_a_cell_is_read_and_a_click_takes_it(page: RunPage) -> None:
    values = page.atlas.values()
    assert values is not None
    box = page.atlas.layout_of((LAYERS, HEADS)).cell(2, 0)
    assert page.atlas.item_at(box.center()) == (2, 0)
    assert page.atlas.item_at(QPointF(1, page.atlas.height() - 1)) is None
    QTest.mouseClick(page.atlas, Qt.MouseButton.LeftButton, pos=box.center().toPoint())
    assert page.controller.view.cell == (2, 0)


def test_words_that_no_prompt_has_give_the_reason(page: RunPage) -> None:
    page.controls.subject.chosen.emit("elephant")
    until(lambda: page.controller.stage.kind == "empty", 60)
    assert page.message.title.text() == "No episode has an answer"
    assert "There is no word “elephant”" in page.message.text.text()
    assert page.stack.currentWidget() is page.message
    assert page.upper.isVisible(), "another question can be asked"


def test_question_that_cannot_be_is_explained_in_place(page: RunPage) -> None:
    page.controls.region.chosen.emit("")
    assert page.controller.stage.kind == "problem"
    assert page.message.text.text() == (
        "The score “mass in region” needs a region; name one, such as duck or {object}."
    )
    page.controls.score.chosen.emit("picture")
    until(lambda: has_answer(page.controller), 60)
    assert page.stack.currentWidget() is page.splitter


def test_command_line_of_the_page_opens_the_same_view(page: RunPage, window: MainWindow) -> None:
    window.perform_id("share")
    words = shlex.split(QApplication.clipboard().text())
    assert words[0] == "pi0-viewer"
    view = parse_run_view(words[words.index("--view") + 1])
    assert view == page.controller.view
    assert "run" not in json.loads(ViewState().to_json())


def test_view_given_at_the_start_shows_the_page(planted: Path, app: QApplication, tmp_path: Path) -> None:
    from viewer.controllers.settings import Settings
    from viewer.io import run_index
    from viewer.widgets.main_window import MainWindow

    settings = Settings(tmp_path / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    try:
        window.files.show_run(run_index.read_run(planted))
        window.runs.show_view(RunView(QUESTION, layer=2, head=1))
        window.show()
        until(lambda: window.session.results is not None)
        until(lambda: has_answer(shown_page(window).controller), 60)
        assert window.runs.is_page_shown, "the first episode, which nobody chose, does not take its place"
        assert shown_page(window).controller.view.cell == (2, 1)
    finally:
        close(window)


def test_view_of_a_run_comes_back_with_it(page: RunPage, window: MainWindow, planted: Path) -> None:
    page.atlas.choose(2, 1)
    window.runs.leave_page()
    window.files.close()
    spin()
    assert page.controller.run is None
    window.open(planted)
    until(lambda: window.files.run is not None)
    assert page.controller.view.query == QUESTION
    assert page.controller.view.cell == (2, 1)


def test_page_can_be_restyled_and_painted_in_both_themes(page: RunPage, window: MainWindow) -> None:
    dark = page.grab().toImage()
    window.set_theme("light")
    try:
        spin()
        light = page.grab().toImage()
        assert dark.pixelColor(2, 2).lightness() < 60
        assert light.pixelColor(2, 2).lightness() > 200
    finally:
        window.set_theme("dark")


def test_undo_and_redo_go_through_the_questions(page: RunPage, window: MainWindow) -> None:
    ask(window, replace(QUESTION, score="picture"))
    window.perform_id("undo")
    assert page.controller.view.query == QUESTION
    window.perform_id("redo")
    assert page.controller.view.query.score == "picture"
    until(lambda: has_answer(page.controller))


def test_stopped_summary_says_so_and_goes_on(page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    page.controls.subject.chosen.emit("bowl")
    until(lambda: page.controller.stage.kind == "building")
    assert page.message.title.text() == "Reading the episodes"
    stop, back = page.message.buttons
    assert (stop.text(), back.text()) == ("Stop", "Back to the episode")
    stop.click()
    until(lambda: page.controller.stage.kind in {"stopped", "ready"})
    if page.controller.stage.kind == "stopped":  # else it had read all of so small a run
        assert [button.text() for button in page.message.buttons] == ["Go on", "Back to the episode"]
        page.message.buttons[0].click()
    until(lambda: has_answer(page.controller), 60)


def test_new_episode_is_taken_up_while_the_page_is_shown(app: QApplication, tmp_path: Path) -> None:
    folder = write_planted_run(tmp_path / "growing", 3)
    window = show_run(folder, tmp_path)
    try:
        window.runs.show_page()
        page = ask(window, QUESTION)
        assert page.controller.atlas is not None
        assert page.controller.atlas.all.episodes.max() == 3
        page.controller._update_timer.setInterval(0)
        write_planted_run(folder, 4)
        assert window.files.run is not None
        window.files.run.episodes.look()
        until(lambda: page.controller.atlas is not None and page.controller.atlas.all.episodes.max() == 4, 60)
        assert "mean over 4 episodes with 16 frames" in page.heading.text
        assert window.runs.is_page_shown
    finally:
        close(window)


def test_sheet_exports_a_figure_that_opens_on_the_page_again(page: RunPage, window: MainWindow, tmp_path: Path) -> None:
    window.perform_id("export")
    sheet = window.overlays.overlay
    assert isinstance(sheet, RunExportSheet)
    assert sheet.sentence.text() == page.heading.text
    sheet.folder.setText(str(tmp_path / "figures"))
    sheet.formats.buttons["svg"].click()
    sheet.start()
    until(lambda: sheet.running is None, 60)
    path = tmp_path / "figures" / "planted" / "region-duck-layer1-head0.svg"
    assert sheet.result.text() == f"{path.name} written to {path.parent}"
    assert parse_run_view(metadata.read_view_json(str(path))) == page.controller.view
    sheet.start()
    until(lambda: sheet.running is None, 60)
    assert f"{path} exists; add --overwrite to replace" in sheet.result.text()
    sheet.close()


def test_exception_in_a_query_is_a_page_and_the_next_question_is_answered(
    page: RunPage, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: RunSummary, query: RunQuery) -> RunAtlas:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(RunSummary, "atlas", fail)
        page.controller.ask(replace(QUESTION, score="entropy"))
        until(lambda: page.controller.stage.kind == "failed")
        assert page.message.title.text() == "There is no answer"
        assert page.message.text.text().startswith("The answer could not be computed; the log says why.")
    ask(window, replace(QUESTION, score="picture"))
    assert page.stack.currentWidget() is page.splitter


def test_damaged_summary_is_a_page_and_is_made_anew_when_asked(app: QApplication, tmp_path: Path) -> None:
    folder = write_planted_run(tmp_path / "damaged", 2)
    window = show_run(folder, tmp_path)
    try:
        window.runs.show_page()
        ask(window, QUESTION)
        window.files.close()
        for path in (folder / "summary").glob("duck*/data-*.parquet"):
            path.write_bytes(b"PAR1" + bytes(100))
        window.open(folder)
        until(lambda: window.files.run is not None)
        window.runs.show_page()
        page = shown_page(window)
        until(lambda: page.controller.stage.kind == "failed", 60)
        assert "The summary of the run cannot be read" in page.message.text.text()
        assert page.message.buttons[0].text() == "Try again"
        page.message.buttons[0].click()
        until(lambda: has_answer(page.controller), 60)
        assert "mean over 2 episodes" in page.heading.text
    finally:
        close(window)


def test_run_that_is_opened_from_the_page_is_asked_at_once(
    small: Path, planted: Path, app: QApplication, tmp_path: Path
) -> None:
    window = show_run(small, tmp_path)
    try:
        window.runs.show_page()
        window.open(planted)
        until(lambda: window.files.run is not None and window.session.path is not None, 30)
        until(lambda: file_name(window).startswith("episode_"), 30)
        assert window.runs.is_page_shown
        assert ask(window, QUESTION).atlas.values() is not None
    finally:
        close(window)
