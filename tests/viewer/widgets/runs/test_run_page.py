"""The Run page in a real window: what it shows, and what keys and the pointer do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from planted_run import BOX, EPISODES, FRAMES, HEADS, LAYERS, PLANTED
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from run_page_driver import QUESTION, ask_and_wait, get_run_page, has_answer
from run_window import file_name, show_run
from window_driver import check_screen, close, press, until

from viewer.controllers import commands
from viewer.controllers.runs import run_controller
from viewer.controllers.runs.stages import Stage
from viewer.widgets.runs.run_page import RunPage

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow

SHIFT = Qt.KeyboardModifier.ShiftModifier


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


def test_page_without_a_run_explains_what_to_open(small: Path, tmp_path: Path) -> None:
    window = show_run(small, tmp_path)
    try:
        press(window, Qt.Key.Key_R, SHIFT)
        message = get_run_page(window).message
        assert message.title.text() == "No run is open"
        assert [button.text() for button in message.buttons] == ["Open run folder…", "Open the demo’s run", "Back"]
        message.buttons[2].click()
        assert window.stack.currentWidget() is window.panels
    finally:
        close(window)


def test_page_without_duckdb_explains_what_to_install(page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_controller, "find_missing", lambda: "Answers over a run need duckdb: pip install duckdb.")
    page.controller.ask(replace(QUESTION, score="picture"))
    assert page.message.title.text() == "One package is missing"
    assert page.message.text.text() == "Answers over a run need duckdb: pip install duckdb."
    assert not page.upper.isVisible()


def test_heading_counts_episodes_and_frames(page: RunPage) -> None:
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
    assert [episode.value for episode in rows.values] == sorted(
        (episode.value for episode in rows.values), reverse=True
    )
    text = rows.data(rows.index(0, 0), Qt.ItemDataRole.AccessibleTextRole)
    assert isinstance(text, str)
    assert text.startswith(f"rank 0, {rows.values[0].name}, {rows.values[0].outcome}, ")


def test_chosen_head_stays_when_the_score_changes(page: RunPage, window: MainWindow) -> None:
    page.atlas.choose(2, 1)
    ask_and_wait(window, replace(QUESTION, score="picture"))
    assert page.controller.view.cell == (2, 1)


@pytest.mark.parametrize("which", ["typical", "extreme"])
def test_row_opens_the_episode_at_the_frame_with_head_and_words(page: RunPage, window: MainWindow, which: str) -> None:
    window.session.update(region=())
    row = next(index for index, episode in enumerate(page.ranking.values.values) if episode.file == "episode_000005.h5")
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
    masses = []
    for frame in range(FRAMES):
        attention = QueryAttention(results, frame, query, ((0, 6, 5),), layers=[PLANTED[0]], heads=[PLANTED[1]])
        masses.append(float(SCORES["region"].compute(attention)[0, 0, 0]))
    return masses


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


def test_hovered_cell_is_described_and_a_click_chooses_it(page: RunPage) -> None:
    values = page.atlas.values()
    assert values is not None
    box = page.atlas.layout_of((LAYERS, HEADS)).cell(2, 0)
    assert page.atlas.item_at(box.center()) == (2, 0)
    assert page.atlas.item_at(QPointF(1, page.atlas.height() - 1)) is None
    QTest.mouseClick(page.atlas, Qt.MouseButton.LeftButton, pos=box.center().toPoint())
    assert page.controller.view.cell == (2, 0)


def test_focus_is_shown_at_once_on_every_part(page: RunPage, window: MainWindow) -> None:
    activate(window)
    until(lambda: page.curves.plot is not None)
    for part in (page.atlas, page.distribution, page.curves, page.ranking, page.controls.score):
        part.setFocus(Qt.FocusReason.TabFocusReason)
        assert part.hasFocus()
        check_screen(window, f"the focus went to {part.accessibleName()}")
    assert [part.accessibleName() for part in (page.distribution, page.curves)] == [
        "Distribution over episodes", "Over the time of an episode",
    ]  # fmt: skip


def test_list_of_episodes_shows_its_row_when_it_gets_the_focus_and_keeps_it(page: RunPage, window: MainWindow) -> None:
    activate(window)
    page.ranking.setFocus(Qt.FocusReason.TabFocusReason)
    assert [index.row() for index in page.ranking.selectedIndexes()] == [0]
    QTest.keyClick(page.ranking, Qt.Key.Key_Down)
    file = page.ranking.values.values[1].file
    page.atlas.choose(2, 1)
    until(lambda: has_answer(page.controller))
    [index] = page.ranking.selectedIndexes()
    assert page.ranking.values.values[index.row()].file == file


def test_answer_gets_the_focus_where_nothing_else_has_it(page: RunPage, window: MainWindow) -> None:
    window.runs.leave_page()
    page.controller._set_stage(Stage("building"))
    window.runs.show_page()
    page.controller._begin()
    until(lambda: has_answer(page.controller))
    assert window.focusWidget() is page.atlas


def test_arrow_keys_read_the_curve(page: RunPage, window: MainWindow) -> None:
    activate(window)
    page.curves.setFocus()
    QTest.keyClick(page.curves, Qt.Key.Key_Right)
    QTest.keyClick(page.curves, Qt.Key.Key_Right)
    assert page.curves.hovered == 1
    assert page.curves.accessibleDescription().startswith(f"{page.curves.name_point(1)}; all: ")
    page.atlas.setFocus()
    assert page.curves.hovered is None


def activate(window: MainWindow) -> None:
    """Give the window the focus, without which its widgets get no events of it."""
    window.activateWindow()
    until(window.isActiveWindow)
