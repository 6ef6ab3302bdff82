"""The table of who looks at the region: groups by head, more lines than fit, the scroll bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from window_driver import close, settle, show, until

from viewer.widgets.panels.region_ranking import GROUP_LINES, LINE

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.mark.parametrize("size", [(1024, 700), (1280, 800), (1920, 1080)])
def test_new_region_leaves_the_pictures_where_they_are(
    app: QApplication, tmp_path: Path, size: tuple[int, int]
) -> None:
    window = show(make_results.write(tmp_path / "a.h5"), tmp_path, size)
    before = [pane.geometry() for pane in window.panels.camera_grid.panes]
    window.session.update(region=((0, 6, 6),))
    until(lambda: window.panels.region_ranking.lines)
    settle(window)
    assert window.panels.current_tab == "region_ranking"
    assert [pane.geometry() for pane in window.panels.camera_grid.panes] == before
    if size == (1920, 1080):
        assert window.panels.region_ranking.visible() > 4
    close(window)


@pytest.mark.parametrize("size", [(1024, 700), (1280, 800)])
def test_lines_are_grouped_by_head_and_a_click_unfolds_one(
    app: QApplication, tmp_path: Path, size: tuple[int, int]
) -> None:
    recipe = make_results.Recipe(frames=1, layers=4, heads=3)
    window = show(make_results.write(tmp_path / "a.h5", recipe), tmp_path, size, region=((0, 6, 6),))
    panel, session = window.panels.region_ranking, window.session
    window.panels.show_tab("region_ranking")
    until(lambda: panel.lines)
    settle(window)
    assert panel.visible() >= 4
    assert panel.scroll_bar.isVisible()
    heads = [(line.row.layer, line.row.head) for line in panel.lines if line.is_first]
    assert len(heads) == len(set(heads)), "each head stands once"
    firsts = [line.row.mass for line in panel.lines if line.is_first]
    assert firsts == sorted(firsts, reverse=True)
    number = next(n for n, line in enumerate(panel.lines) if line.more)
    hidden = panel.lines[number]
    assert number >= GROUP_LINES
    shown = [line for line in panel.lines if (line.row.layer, line.row.head) == (hidden.row.layer, hidden.row.head)]
    assert len(shown) == GROUP_LINES + 1
    panel.scroll_to(number)
    point = QPoint(200, panel.HEADING - 2 + (number - panel.top) * LINE + LINE // 2)
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=point)
    unfolded = [line for line in panel.lines if (line.row.layer, line.row.head) == (hidden.row.layer, hidden.row.head)]
    assert len(unfolded) == GROUP_LINES + hidden.more
    assert not any(line.more for line in unfolded)
    panel.scroll_bar.setValue(0)
    assert panel.top == 0
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=QPoint(200, panel.HEADING + LINE + 4))
    second = panel.lines[1].row
    assert (session.state.query, session.state.layer, session.state.heads) == (
        second.query,
        second.layer,
        (second.head,),
    )
    panel.grouped.click()
    masses = [line.row.mass for line in panel.lines]
    assert masses == sorted(masses, reverse=True)
    assert len(masses) == len(panel.rows)
    close(window)
