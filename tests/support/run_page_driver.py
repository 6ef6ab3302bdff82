"""The Run page of a window: asking, and waiting for the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planted_run import BOX
from window_driver import settle, until

from viewer.controllers.runs.run_controller import RunController
from viewer.runs.query import RunQuery
from viewer.widgets.runs.run_page import RunPage

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow

QUESTION = RunQuery(score="region", words="duck", region=BOX)


def ask_and_wait(window: MainWindow, query: RunQuery) -> RunPage:
    page = get_run_page(window)
    page.controller.ask(query)
    until(lambda: has_answer(page.controller), 60)
    settle(window)
    return page


def get_run_page(window: MainWindow) -> RunPage:
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
