"""Menus made from the table of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
from window_driver import close, show

from viewer.controllers import commands
from viewer.model.view_state import Query
from viewer.widgets import menus
from viewer.widgets.overlays.export_sheet import ExportSheet

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow


def test_disabled_entry_gives_the_reason(window: MainWindow) -> None:
    menu = menus.build_menu(window.acts, (commands.COMPARE,))
    assert menu.toolTipsVisible()
    difference = next(action for action in menu.actions() if action.data() == "difference")
    assert not difference.isEnabled()
    assert difference.toolTip() == "pin a view first (P)"
    menu.deleteLater()


def test_menus_check_active_entries(window: MainWindow) -> None:
    def marks() -> set[str]:
        menu = menus.build_menu(window.acts, (commands.LOOK, commands.AXES, commands.COLORS, commands.HELP))
        checked = {action.data() for action in menu.actions() if action.isCheckable() and action.isChecked()}
        menu.deleteLater()
        return checked

    window.session.update(grid=True, smooth=False, range="shared", unit="weight", left_out=())
    assert {"grid", "mean"} <= marks()
    assert not {"smooth", "picture", "uniform", "sinks", "max", "log", "lock"} & marks()
    window.session.update(
        grid=False, smooth=True, picture="model", unit="uniform", left_out=("bos",), reduce="max", scale="log"
    )
    assert {"smooth", "picture", "uniform", "sinks", "max", "log"} <= marks()
    assert not {"grid", "mean"} & marks()
    window.session.update(heads=(1,))
    assert not {"mean", "max"} & marks()


def test_menus_check_the_chosen_range_scale_and_wall(window: MainWindow) -> None:
    def marks() -> set[str]:
        menu = menus.build_menu(window.acts, (commands.LOOK, commands.AXES, commands.COLORS))
        checked = {action.data() for action in menu.actions() if action.isChecked()}
        menu.deleteLater()
        return checked

    for command, others in (
        ("from_zero", {"from_uniform", "range", "lock"}), ("range", {"from_zero"}), ("from_uniform", {"range"}),
        ("log", {"linear", "rank"}), ("linear", {"log", "rank"}), ("wall", {"best"}), ("best", {"wall"}),
    ):  # fmt: skip
        if command in {"wall", "best"}:
            window.session.update(wall="off")
        window.perform_id(command)
        assert command in marks()
        assert not others & marks()
    window.session.update(wall="off", query=Query("action", (0,)))
    window.perform_id("link_zoom")
    assert {"swap", "link_zoom"} <= marks()
    window.perform_id("swap")
    window.perform_id("link_zoom")
    assert not {"swap", "link_zoom", "play"} & marks()


def test_no_command_offers_a_choice_of_two_states() -> None:
    titles = [command.title for command in commands.TABLE if command.is_on is not None]
    assert not [title for title in titles if " or " in title]


def test_header_opens_export(window: MainWindow) -> None:
    window.top.export.click()
    assert isinstance(window.overlays.overlay, ExportSheet)
    window.overlays.overlay.close()


def test_recent_files_are_listed_by_name(app: QApplication, tmp_path: Path) -> None:
    window = show(make_results.write(tmp_path / "duck & bowl.h5"), tmp_path)
    menu = menus.build_full_menu(window.acts)
    file = next(action.menu() for action in menu.actions() if action.text() == commands.FILE)
    recent = next(action.menu() for action in file.actions() if action.text() == "Open recent")
    assert [action.text() for action in recent.actions()] == ["duck && bowl.h5"], "one & would underline a letter"
    assert recent.actions()[0].data() == f"{menus.RECENT}{tmp_path / 'duck & bowl.h5'}"
    menu.deleteLater()
    close(window)
