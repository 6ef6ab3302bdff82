"""The left column divides its height so that the pictures stay the largest part."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import make_results
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from window_driver import close, double_click, press, settle, show, spin

from viewer.model.view_state import Query
from viewer.widgets.left_column import (
    COLLAPSE_FRACTION,
    MAX_EXTRA_GAP,
    MAX_TIMELINE,
    MIN_CHIP_LINES,
    MIN_CHIP_LINES_LOW,
    MIN_PICTURES,
    MOST_OF_PICTURES,
    SCROLL_FRACTION,
    ChosenHeights,
    PreferredHeights,
    divide_height,
)

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication, QWidget

LINE = 31
TIMELINE = (26, 66, 92)
GAPS = 8
LONG = "put the small yellow duck that lies beside the blue block into the white bowl at the edge of the table " * 3


@given(
    height=st.integers(300, 1600),
    pictures=st.integers(100, 900),
    lines=st.integers(1, 5),
    tab=st.integers(40, 170),
    preferred_tab=st.integers(0, 100),
    narrow=st.booleans(),
    folded=st.booleans(),
)
def test_divide_height_adds_up_and_keeps_every_minimum(
    height: int, pictures: int, lines: int, tab: int, preferred_tab: int, narrow: bool, folded: bool
) -> None:
    timeline = (0, 0, 0) if narrow else TIMELINE
    tab, preferred_tab = (0, 0) if folded else (tab, preferred_tab)
    heights = divide_height(height, make_heights(pictures, lines, (tab, tab + preferred_tab), timeline), GAPS)
    assert sum(heights) == height
    assert heights.pictures <= pictures
    assert heights.chips >= min(lines, 1 + MIN_CHIP_LINES_LOW) * LINE
    assert heights.chips % LINE == 0
    assert heights.tab >= min(tab, height - heights.pictures - heights.chips)
    assert not folded or not heights.tab
    assert not heights.extra or folded or heights.timeline >= MAX_TIMELINE
    full = pictures if folded else min(pictures, round(MOST_OF_PICTURES * height))
    if heights.chips > (1 + MIN_CHIP_LINES) * LINE:
        assert heights.pictures >= round(SCROLL_FRACTION * full)
    elif heights.chips > (1 + MIN_CHIP_LINES_LOW) * LINE:
        assert heights.pictures >= COLLAPSE_FRACTION * full - 1
    assert not narrow or not heights.timeline
    assert narrow or folded or not TIMELINE[0] < heights.timeline < TIMELINE[1], "no chart is cut off"


def make_heights(
    pictures: int, lines: int, tab: tuple[int, int], timeline: tuple[int, int, int] = TIMELINE
) -> PreferredHeights:
    """Return preferred heights; one of `lines` is that of the actions."""
    return PreferredHeights(
        pictures, lambda available: min(available, pictures), lines * LINE, LINE, tab, timeline, LINE
    )


def test_divide_height_gives_what_pictures_leave_to_tab_panel_then_timeline_then_gaps() -> None:
    assert divide_height(500, make_heights(290, 2, (60, 100)), GAPS) == (290, 62, 60, 88, 0)
    assert divide_height(600, make_heights(290, 2, (60, 100)), GAPS) == (290, 62, 100, 148, 0)
    assert divide_height(700, make_heights(290, 2, (60, 100)), GAPS) == (290, 62, 100, MAX_TIMELINE, 68)
    assert divide_height(900, make_heights(290, 2, (60, 100)), GAPS) == (
        290,
        62,
        100,
        448 - GAPS * MAX_EXTRA_GAP,
        GAPS * MAX_EXTRA_GAP,
    )
    assert divide_height(700, make_heights(290, 2, (60, 100), (0, 0, 0)), GAPS) == (290, 62, 348, 0, 0)


def test_divide_height_offers_spare_height_to_another_order_of_pictures() -> None:
    larger = make_heights(290, 2, (60, 100))._replace(
        pictures_within=lambda available: 290 if available < 500 else min(available, 520)
    )
    assert divide_height(680, larger, GAPS).pictures == 290
    assert divide_height(690, larger, GAPS) == (690 - 62 - 60 - 66, 62, 60, 66, 0)
    assert divide_height(800, larger, GAPS).pictures == 520


def test_divide_height_gives_a_folded_tab_panel_and_timeline_to_low_pictures() -> None:
    low = divide_height(500, make_heights(600, 2, (0, 0)), GAPS)
    assert low == (500 - 62, 62, 0, 0, 0)
    assert divide_height(900, make_heights(600, 2, (0, 0)), GAPS) == (600, 62, 0, MAX_TIMELINE, 58)
    assert divide_height(1100, make_heights(600, 2, (0, 0)), GAPS) == (600, 62, 0, MAX_TIMELINE, 258), (
        "the rest stays empty"
    )
    assert divide_height(700, make_heights(290, 2, (0, 0), (0, 0, 0)), GAPS) == (290, 62, 0, 0, 348)


def test_chips_scroll_before_pictures_shrink_and_the_timeline_collapses_before_pictures_get_low() -> None:
    chips = divide_height(550, make_heights(290, 5, (120, 160)), GAPS)
    assert chips.chips == 3 * LINE
    assert chips.pictures == 550 - 3 * LINE - 120 - 66
    low = divide_height(550, make_heights(590, 5, (120, 160)), GAPS)
    assert low == (550 - 2 * LINE - 120 - 26, 2 * LINE, 120, 26, 0)


@given(
    height=st.integers(300, 1600),
    pictures=st.integers(150, 900),
    lines=st.integers(2, 9),
    tab=st.integers(40, 170),
    share=st.none() | st.floats(0.01, 1),
    prompt=st.none() | st.integers(1, 9),
)
def test_divide_height_follows_what_the_user_chose_within_the_minimums(
    height: int, pictures: int, lines: int, tab: int, share: float | None, prompt: int | None
) -> None:
    heights = divide_height(height, make_heights(pictures, lines, (tab, tab + 40)), GAPS, ChosenHeights(share, prompt))
    assert sum(heights) == height
    assert heights.chips >= 2 * LINE, "actions and one line of the prompt stay in sight"
    if prompt is not None:
        lines_available = max((height - tab - TIMELINE[0] - MIN_PICTURES) // LINE, 2)
        assert heights.chips == min(prompt + 1, lines, lines_available) * LINE
    if share is not None:
        assert heights.pictures <= pictures
        max_pictures = (
            height - tab - TIMELINE[0] - 2 * LINE if prompt is None else height - tab - TIMELINE[0] - heights.chips
        )
        assert heights.pictures == min(
            pictures, min(max(round(share * height), MIN_PICTURES), max(max_pictures, MIN_PICTURES))
        )


def test_chosen_pictures_give_their_rest_to_chips_and_tab_panel() -> None:
    chosen = divide_height(700, make_heights(400, 3, (60, 100)), GAPS, ChosenHeights(0.3))
    assert chosen[:3] == (210, 3 * LINE, 100)


@pytest.mark.parametrize("size", [(1024, 700), (1280, 800), (1440, 900)])
@pytest.mark.parametrize("film", ["layers", "steps", "layers-frames"])
def test_pictures_stay_large_with_a_long_prompt_and_a_deep_film(
    app: QApplication, tmp_path: Path, size: tuple[int, int], film: str
) -> None:
    path = make_results.write(
        tmp_path / "long.h5", make_results.Recipe(layers=18, steps=10, size=(90, 160), tasks=(LONG,))
    )
    window = show(path, tmp_path, size)
    window.session.update(query=Query("action", (3,)), step=4, film=film)
    spin()
    settle(window)
    for pane in window.panels.camera_grid.panes:
        assert pane.area().width() >= 0.4 * window.panels.camera_grid.width()
        assert pane.area().left() == 0
    chosen = next(p for p in window.panels.strips.places if (p.kind, p.item) == ("action", 3))
    assert chosen.box.top() >= 0
    assert chosen.box.bottom() <= window.panels.strips.height()
    close(window)


def test_side_by_side_views_fold_the_tab_panels_and_unfold_them_again(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "wide.h5", make_results.Recipe(layers=18, size=(90, 160)))
    window = show(path, tmp_path, (1280, 800))
    panels = window.panels
    single_width = panels.camera_grid.panes[0].area().width()
    window.session.update(pinned=window.session.state)
    window.session.update(compare="side", layer=3)
    settle(window)
    assert not panels.stack.isVisible()
    assert panels.tabs.isVisible()
    assert not any(button.isChecked() for button in panels.tabs.buttons.values())
    boxes = [pane.area() for pane in (*panels.camera_grid.panes, *panels.camera_grid.pinned)]
    assert (
        min(box.width() for box in boxes) >= 0.7 * single_width
    )  # the strip of pins and a second sentence take 50 pixels
    assert len({(box.width(), box.height()) for box in boxes}) == 1
    panels.tabs.buttons["action_chart"].click()
    settle(window)
    assert panels.stack.isVisible()
    assert panels.current_tab == "action_chart"
    panels.tabs.buttons["action_chart"].click()
    settle(window)
    assert not panels.stack.isVisible(), "a click on the tab of the open panel folds it"
    for size in ((1000, 700), (1280, 800)):  # narrow, and wide again
        window.resize(*size)
        settle(window)
        assert not panels.stack.isVisible()
    window.perform_id("unpin")
    settle(window)
    assert panels.stack.isVisible()
    assert panels.tabs.buttons["action_chart"].isChecked()
    panels.show_tab("film")
    settle(window)
    assert panels.camera_grid.panes[0].area().width() == single_width
    close(window)


def test_a_region_unfolds_the_tab_panels_and_no_region_folds_them_again(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "wide.h5", make_results.Recipe(layers=18, size=(90, 160)))
    window = show(path, tmp_path, (1280, 800))
    window.session.update(pinned=window.session.state)
    window.session.update(compare="side", layer=3)
    settle(window)
    window.session.update(region=((0, 7, 7),))
    settle(window)
    assert window.panels.region_ranking.isVisible()
    window.session.update(region=())
    settle(window)
    assert not window.panels.stack.isVisible()
    assert window.panels.current_tab == "film"
    window.perform_id("deck")
    settle(window)
    assert window.panels.film.isVisible()
    close(window)


@pytest.mark.parametrize("layers", [4, 18])
def test_right_column_leaves_spare_height_at_the_bottom(app: QApplication, tmp_path: Path, layers: int) -> None:
    path = make_results.write(tmp_path / "few.h5", make_results.Recipe(layers=layers))
    window = show(path, tmp_path, (2560, 1440))
    panels = window.panels
    column = (panels.mass, panels.atlas, panels.curves, panels.heat)
    for above, below in pairwise(column):
        gap = below.geometry().top() - above.geometry().bottom() - 1
        assert gap == panels.side.panels.spacing()
    scores = panels.atlas.scores()
    assert scores is not None
    assert panels.atlas.layout_of(scores).rows[-1][1] >= panels.atlas.height() - 20, "cells fill the atlas"
    close(window)


def long_file(tmp_path: Path) -> Path:
    recipe = make_results.Recipe(layers=2, heads=2, steps=2, horizon=50, size=(90, 160), tasks=(LONG,), frames=1)
    return make_results.write(tmp_path / "long.h5", recipe)


def test_actions_stay_in_sight_while_a_long_prompt_scrolls(app: QApplication, tmp_path: Path) -> None:
    window = show(long_file(tmp_path), tmp_path, (1024, 700))
    strips, session = window.panels.strips, window.session

    def in_sight(kind: str) -> list[int]:
        visible = strips.rect()
        return [
            p.item for p in strips.places if p.kind == kind and not p.box.isEmpty() and visible.contains(p.box.toRect())
        ]

    assert in_sight("action") == list(range(50))
    assert strips.scroll_bar.isVisible()
    assert 0 in in_sight("text")
    last = session.dims.chips - 1
    session.update(query=Query("text", (last,)))
    spin()
    assert last in in_sight("text"), "the selected word is scrolled into sight"
    assert 0 not in in_sight("text")
    assert in_sight("action") == list(range(50))
    session.preview(Query("text", (0,)))
    spin()
    assert last in in_sight("text"), "a preview scrolls nothing"
    session.preview(None)
    QTest.keyClick(strips, Qt.Key.Key_Up)
    assert session.state.query.first < last
    picture = window.panels.render_picture()
    scrolled = strips.height()
    assert picture.height() >= 2 * (strips.lines.height() + window.panels.camera_grid.height())
    assert strips.height() == scrolled, "the picture has all lines, the window as many as before"
    close(window)


def drag(handle: QWidget, by: int) -> None:
    middle = handle.rect().center()
    QTest.mousePress(handle, Qt.MouseButton.LeftButton, pos=middle)
    QTest.mouseMove(handle, middle + QPoint(0, by))
    QTest.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=middle + QPoint(0, by))


def test_handles_set_heights_that_the_next_window_has_again(app: QApplication, tmp_path: Path) -> None:
    path = long_file(tmp_path)
    window = show(path, tmp_path, (1280, 800))
    panels = window.panels
    before = panels.camera_grid.height()
    drag(panels.handles.under_pictures, -60)
    settle(window)
    assert abs(panels.camera_grid.height() - (before - 60)) <= 1
    lines = panels.strips.lines.visible(panels.strips.height())
    assert lines > 1
    drag(panels.handles.under_chips, -LINE)
    settle(window)
    assert panels.strips.lines.visible(panels.strips.height()) == lines - 1
    QTest.keyClick(panels.handles.under_pictures, Qt.Key.Key_Up)
    settle(window)
    chosen = panels.camera_grid.height()
    assert chosen < before - 60
    close(window)
    window = show(path, tmp_path, (1280, 800))
    assert abs(window.panels.camera_grid.height() - chosen) <= 1
    double_click(window.panels.handles.under_pictures)
    window.perform_id("heights")
    settle(window)
    assert window.panels.camera_grid.height() == before
    close(window)


@pytest.mark.parametrize("text", ["", "nonsense", "2 3", "0.4 x", "- 0", "nan -"])
def test_damaged_heights_in_the_settings_choose_nothing(app: QApplication, tmp_path: Path, text: str) -> None:
    window = show(long_file(tmp_path), tmp_path, plots=False)
    window.panels.handles.restore(text)
    assert window.panels.left.chosen == ChosenHeights()
    close(window)


def test_pictures_only_hides_the_rest_until_escape(app: QApplication, tmp_path: Path) -> None:
    window = show(long_file(tmp_path), tmp_path, (1280, 800))
    panels = window.panels
    before = panels.camera_grid.panes[0].area().width()
    press(window, Qt.Key.Key_X)
    settle(window)
    hidden = (panels.strips, panels.tabs, panels.stack, panels.timeline, panels.axes, panels.side)
    assert not any(panel.isVisible() for panel in hidden)
    assert panels.sentence.isVisible()
    assert panels.camera_grid.panes[0].area().width() > 1.2 * before
    panels.show_tab("film")
    window.resize(1000, 700)
    settle(window)
    assert not any(panel.isVisible() for panel in hidden), "a narrow window and its tabs do not end it"
    window.resize(1280, 800)
    press(window, Qt.Key.Key_Escape)
    settle(window)
    assert all(panel.isVisible() for panel in hidden)
    assert panels.camera_grid.panes[0].area().width() == before
    close(window)


def test_one_camera_leaves_little_width_unused(app: QApplication, tmp_path: Path) -> None:
    recipe = make_results.Recipe(cameras=("exterior",), layers=18, size=(90, 160))
    window = show(make_results.write(tmp_path / "one.h5", recipe), tmp_path, (1920, 1080))
    grid = window.panels.camera_grid
    assert grid.panes[0].area().width() >= 0.85 * grid.width()
    assert window.panels.side.width() > 500
    close(window)


def test_a_low_window_scrolls_the_right_column_and_squeezes_no_panel(app: QApplication, tmp_path: Path) -> None:
    window = show(make_results.write(tmp_path / "a.h5", make_results.Recipe(layers=18)), tmp_path, (1280, 660))
    panels = window.panels
    for panel in (panels.mass, panels.atlas, panels.curves, panels.heat):
        assert panel.height() >= max(panel.minimumHeight(), panel.minimumSizeHint().height())
    assert panels.heat.low.geometry().right() < panels.heat.high.geometry().left()
    assert panels.heat.high.geometry().right() < panels.heat.width()
    assert panels.side_scroll.verticalScrollBar().maximum() > 0
    assert panels.side.width() == panels.side_scroll.viewport().width(), "nothing is cut off at the right"
    window.resize(1280, 900)
    settle(window)
    assert panels.side_scroll.verticalScrollBar().maximum() == 0
    close(window)
