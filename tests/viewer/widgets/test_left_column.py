"""The left column divides its height so that the pictures stay the largest part."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import make_results
import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_driver import close, settle, show, spin

from viewer.model.view_state import Query
from viewer.widgets.left_column import (
    COLLAPSE_FRACTION,
    MAX_EXTRA_GAP,
    MAX_TIMELINE,
    MIN_CHIP_LINES,
    MIN_CHIP_LINES_LOW,
    SCROLL_FRACTION,
    PreferredHeights,
    divide_height,
)

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

LINE = 31
TIMELINE = (26, 66, 92)
GAPS = 8
LONG = "put the small yellow duck that lies beside the blue block into the white bowl at the edge of the table " * 3


@given(
    height=st.integers(300, 1600),
    pictures=st.integers(100, 900),
    lines=st.integers(1, 5),
    tab=st.integers(40, 170),
    more=st.integers(0, 100),
    narrow=st.booleans(),
    folded=st.booleans(),
)
def test_divide_height_adds_up_and_keeps_every_minimum(
    height: int, pictures: int, lines: int, tab: int, more: int, narrow: bool, folded: bool
) -> None:
    timeline = (0, 0, 0) if narrow else TIMELINE
    tab, more = (0, 0) if folded else (tab, more)
    heights = divide_height(height, wanted(pictures, lines, (tab, tab + more), timeline), GAPS)
    assert sum(heights) == height
    assert heights.pictures <= pictures
    assert heights.chips >= min(lines, MIN_CHIP_LINES_LOW) * LINE
    assert heights.chips % LINE == 0
    assert heights.tab >= min(tab, height - heights.pictures - heights.chips)
    assert not folded or not heights.tab
    assert not heights.extra or folded or heights.timeline >= MAX_TIMELINE
    if heights.chips > MIN_CHIP_LINES * LINE:
        assert heights.pictures >= round(SCROLL_FRACTION * pictures)
    elif heights.chips > MIN_CHIP_LINES_LOW * LINE:
        assert heights.pictures >= COLLAPSE_FRACTION * pictures - 1


def wanted(
    pictures: int, lines: int, tab: tuple[int, int], timeline: tuple[int, int, int] = TIMELINE
) -> PreferredHeights:
    return PreferredHeights(pictures, lambda most: min(most, pictures), lines * LINE, LINE, tab, timeline)


def test_divide_height_gives_what_pictures_leave_to_tab_panel_then_timeline_then_gaps() -> None:
    assert divide_height(500, wanted(290, 2, (60, 100)), GAPS) == (290, 62, 60, 88, 0)
    assert divide_height(600, wanted(290, 2, (60, 100)), GAPS) == (290, 62, 100, 148, 0)
    assert divide_height(700, wanted(290, 2, (60, 100)), GAPS) == (290, 62, 100, MAX_TIMELINE, 68)
    assert divide_height(900, wanted(290, 2, (60, 100)), GAPS) == (
        290,
        62,
        100,
        448 - GAPS * MAX_EXTRA_GAP,
        GAPS * MAX_EXTRA_GAP,
    )
    assert divide_height(700, wanted(290, 2, (60, 100), (0, 0, 0)), GAPS) == (290, 62, 348, 0, 0)


def test_divide_height_offers_spare_height_to_another_order_of_pictures() -> None:
    larger = wanted(290, 2, (60, 100))._replace(pictures_within=lambda most: 290 if most < 500 else min(most, 520))
    assert divide_height(680, larger, GAPS).pictures == 290
    assert divide_height(690, larger, GAPS) == (690 - 62 - 60 - 66, 62, 60, 66, 0)
    assert divide_height(800, larger, GAPS).pictures == 520


def test_divide_height_gives_a_folded_tab_panel_and_timeline_to_low_pictures() -> None:
    low = divide_height(500, wanted(600, 2, (0, 0)), GAPS)
    assert low == (500 - 62, 62, 0, 0, 0)
    assert divide_height(900, wanted(600, 2, (0, 0)), GAPS) == (600, 62, 0, MAX_TIMELINE, 58)
    assert divide_height(1100, wanted(600, 2, (0, 0)), GAPS) == (600, 62, 0, MAX_TIMELINE, 258), "the rest stays empty"
    assert divide_height(700, wanted(290, 2, (0, 0), (0, 0, 0)), GAPS) == (290, 62, 0, 0, 348)


def test_chips_scroll_before_pictures_shrink_and_the_timeline_collapses_before_pictures_get_low() -> None:
    chips = divide_height(550, wanted(290, 5, (120, 160)), GAPS)
    assert chips.chips == 3 * LINE
    assert chips.pictures == 550 - 3 * LINE - 120 - 66
    low = divide_height(550, wanted(590, 5, (120, 160)), GAPS)
    assert low == (550 - 2 * LINE - 120 - 26, 2 * LINE, 120, 26, 0)


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
    view = window.panels.chips
    top = window.panels.strips.mapTo(view, chosen.box.topLeft()).y()
    assert top >= 0
    assert top + chosen.box.height() <= view.height()
    close(window)


def test_side_by_side_views_fold_the_tab_panels_and_unfold_them_again(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "wide.h5", make_results.Recipe(layers=18, size=(90, 160)))
    window = show(path, tmp_path, (1280, 800))
    panels = window.panels
    alone = panels.camera_grid.panes[0].area().width()
    window.session.update(pinned=window.session.state)
    window.session.update(compare="side", layer=3)
    settle(window)
    assert not panels.stack.isVisible()
    assert panels.tabs.isVisible()
    assert not any(button.isChecked() for button in panels.tabs.buttons.values())
    boxes = [pane.area() for pane in (*panels.camera_grid.panes, *panels.camera_grid.pinned)]
    assert min(box.width() for box in boxes) >= 0.7 * alone  # the strip of pins and a second sentence take 50 pixels
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
    assert panels.camera_grid.panes[0].area().width() == alone
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
        assert gap == panels.side_layout.spacing()
    scores = panels.atlas.scores()
    assert scores is not None
    assert panels.atlas.layout_of(scores).rows[-1][1] >= panels.atlas.height() - 20, "cells fill the atlas"
    close(window)
