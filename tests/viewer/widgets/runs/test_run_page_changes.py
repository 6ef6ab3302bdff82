"""The Run page: questions without an answer, views, undo, growing runs, exports and failures."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import make_run
import pytest
from planted_run import FRAMES, HEADS, LAYERS, PLANTED, write_planted_run
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from run_page_driver import QUESTION, ask_and_wait, get_run_page, has_answer
from run_window import file_name, show_run
from window_driver import close, spin, until

from viewer.export import metadata
from viewer.export.masks.__main__ import main as track_regions
from viewer.model.view_state import ViewState
from viewer.runs.query import RunQuery
from viewer.runs.run_view import RunView, parse_run_view
from viewer.runs.summary import RunSummary
from viewer.widgets.runs.run_export_sheet import RunExportSheet
from viewer.widgets.runs.run_page import RunPage

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.runs.answers import RunAtlas
    from viewer.widgets.main_window import MainWindow

SHIFT = Qt.KeyboardModifier.ShiftModifier


def test_words_that_no_prompt_has_give_the_reason(page: RunPage) -> None:
    page.controls.subject.chosen.emit("elephant")
    until(lambda: page.controller.stage.kind == "empty", 60)
    assert page.message.title.text() == "No episode has an answer"
    assert "There is no word “elephant”" in page.message.text.text()
    assert page.stack.currentWidget() is page.message
    assert page.upper.isVisible(), "another question can be asked"


def test_parts_are_read_once_the_page_is_idle(page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    controller, ranges = page.controller, ((0.0, 0.5), (0.5, 1.0))
    database = controller._summary._database
    until(lambda: controller._summary._part_table is not None, 60)
    monkeypatch.setattr(database, "ask", None)  # nothing more is read for ranges of time and frames
    for times in ranges:
        controller.show_view(replace(controller.view, query=replace(controller.view.query, times=times)))
        until(lambda asked=times: has_answer(controller) and controller.atlas.query.times == asked, 60)
    assert controller.stage.kind == "ready"


def test_impossible_query_is_explained_on_the_page(page: RunPage) -> None:
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
        until(lambda: has_answer(get_run_page(window).controller), 60)
        assert window.runs.is_page_shown, "the first episode, which nobody chose, does not take its place"
        assert get_run_page(window).controller.view.cell == (2, 1)
    finally:
        close(window)


def test_view_of_a_run_is_restored_with_it(page: RunPage, window: MainWindow, planted: Path) -> None:
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


def test_undo_and_redo_go_through_the_queries(page: RunPage, window: MainWindow) -> None:
    ask_and_wait(window, replace(QUESTION, score="picture"))
    window.perform_id("undo")
    assert page.controller.view.query == QUESTION
    window.perform_id("redo")
    assert page.controller.view.query.score == "picture"
    until(lambda: has_answer(page.controller))


def test_stopped_summary_is_reported_and_resumes(page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_progress_of_another_question_is_not_shown_with_the_answer(page: RunPage, window: MainWindow) -> None:
    page.controls.subject.chosen.emit("put")
    until(lambda: page.controller.build.is_running)
    page.controls.subject.chosen.emit("duck")
    until(lambda: page.controller.stage.kind == "ready")
    assert page.controller.build.is_running
    assert not page.update_note.isVisible()
    until(lambda: not page.controller.build.is_running, 60)


def test_new_episode_is_included_while_the_page_is_shown(app: QApplication, tmp_path: Path) -> None:
    folder = write_planted_run(tmp_path / "growing", 3)
    window = show_run(folder, tmp_path)
    try:
        window.runs.show_page()
        page = ask_and_wait(window, QUESTION)
        assert page.controller.atlas is not None
        assert page.controller.atlas.all.episodes.max() == 3
        page.controller._watch.timer.setInterval(0)
        write_planted_run(folder, 4)
        assert window.files.run is not None
        window.files.run.episodes.check_folder()
        until(lambda: page.controller.atlas is not None and page.controller.atlas.all.episodes.max() == 4, 60)
        assert "mean over 4 episodes with 16 frames" in page.heading.text
        assert window.runs.is_page_shown
    finally:
        close(window)


def test_changes_of_files_and_outcomes_are_shown_while_the_page_is_open(app: QApplication, tmp_path: Path) -> None:
    folder = write_planted_run(tmp_path / "changed", 2)
    window = show_run(folder, tmp_path)
    try:
        window.runs.show_page()
        page = ask_and_wait(window, QUESTION)
        controller, before = page.controller, value_of(page)
        for timer in (controller._watch.timer, controller._watch._poll_timer):
            timer.setInterval(0)
        recorded = make_run.write_episode(
            tmp_path / "other", 0, frames=FRAMES, layers=LAYERS, heads=HEADS, size=(36, 64)
        )
        recorded.replace(folder / "episode_000000.h5")  # recorded once more, without the planted head
        until(lambda: value_of(page) < before / 2, 60)
        entries = [make_run.make_entry(number, frames=FRAMES, success=None) for number in range(2)]
        make_run.write_index(folder, entries)
        until(lambda: not page.controls.contrast.isEnabled(), 60)
        (folder / "episode_000000.h5").unlink()
        until(lambda: controller.atlas is not None and controller.atlas.all.episodes.max() == 1, 60)
        assert "mean over 1 episode with 4 frames" in page.heading.text
    finally:
        close(window)


def test_regions_of_an_episode_that_change_elsewhere_are_read_when_the_page_is_shown_again(
    app: QApplication, tmp_path: Path
) -> None:
    folder = write_planted_run(tmp_path / "regions", 1)
    query = replace(QUESTION, region="duck")
    window = show_run(folder, tmp_path)
    try:
        window.runs.show_page()
        page = get_run_page(window)
        page.controller.ask(query)
        until(lambda: page.controller.stage.kind == "empty", 60)
        window.runs.leave_page()
        assert track_regions(["track", str(folder / "episode_000000.h5"), "duck=exterior:4-8,4-8@0"]) in {0, 1}
        window.runs.show_page()
        until(lambda: has_answer(page.controller), 60)
        assert "Mass in region duck" in page.heading.text
    finally:
        close(window)


def value_of(page: RunPage) -> float:
    """Return the mean of the planted head."""
    assert page.controller.atlas is not None
    return float(page.controller.atlas.all.mean[PLANTED])


def test_sheet_exports_a_figure_that_opens_on_the_page_again(page: RunPage, window: MainWindow, tmp_path: Path) -> None:
    window.perform_id("export")
    sheet = window.overlays.overlay
    assert isinstance(sheet, RunExportSheet)
    assert sheet.sentence.text() == page.heading.text
    sheet.folder.setText(str(tmp_path / "figures"))
    sheet.formats.buttons["svg"].click()
    sheet.start()
    until(lambda: not sheet.exporting.is_running, 60)
    path = tmp_path / "figures" / "planted" / "region-duck-layer1-head0.svg"
    assert sheet.result.text() == f"{path.name} written to {path.parent}"
    assert parse_run_view(metadata.read_view_json(str(path))) == page.controller.view
    sheet.start()
    until(lambda: not sheet.exporting.is_running, 60)
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
    ask_and_wait(window, replace(QUESTION, score="picture"))
    assert page.stack.currentWidget() is page.splitter


def test_damaged_summary_is_a_page_and_is_rebuilt_on_request(app: QApplication, tmp_path: Path) -> None:
    folder = write_planted_run(tmp_path / "damaged", 2)
    window = show_run(folder, tmp_path)
    try:
        window.runs.show_page()
        ask_and_wait(window, QUESTION)
        window.files.close()
        for path in (folder / "summary").glob("duck*/data-*.parquet"):
            path.write_bytes(b"PAR1" + bytes(100))
        window.open(folder)
        until(lambda: window.files.run is not None)
        window.runs.show_page()
        page = get_run_page(window)
        until(lambda: page.controller.stage.kind == "failed", 60)
        assert "The summary of the run cannot be read" in page.message.text.text()
        assert page.message.buttons[0].text() == "Try again"
        page.message.buttons[0].click()
        until(lambda: has_answer(page.controller), 60)
        assert "mean over 2 episodes" in page.heading.text
    finally:
        close(window)


def test_run_opened_from_the_page_is_queried_at_once(
    small: Path, planted: Path, app: QApplication, tmp_path: Path
) -> None:
    window = show_run(small, tmp_path)
    try:
        window.runs.show_page()
        window.open(planted)
        until(lambda: window.files.run is not None and window.session.path is not None, 30)
        until(lambda: file_name(window).startswith("episode_"), 30)
        assert window.runs.is_page_shown
        assert ask_and_wait(window, QUESTION).atlas.values() is not None
    finally:
        close(window)
