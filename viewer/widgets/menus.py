"""Menus of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QActionGroup, QKeySequence
from PySide6.QtWidgets import QMenu

from viewer.controllers import commands
from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.controllers.actions import Actions

RECENT: Final = "recent:"
"""Prefix of the data of “Open recent” actions; the data of all other actions is the id of a command."""


def build_menu(actions: Actions, sections: tuple[str, ...], menu: QMenu | None = None) -> QMenu:
    """Add the commands of some sections to `menu`, or to a new menu that deletes itself when closed."""
    if menu is None:
        menu = QMenu(actions.window)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    menu.setStyleSheet(theme.sheet())
    menu.setToolTipsVisible(True)  # they say why a command is disabled
    groups: dict[str, QActionGroup] = {}
    for command in commands.TABLE:
        if command.section in sections and command.in_menu:
            reason = command.reason(actions)
            native = QKeySequence.SequenceFormat.NativeText
            key = QKeySequence(command.keys[0]).toString(native) if command.keys else ""
            action = menu.addAction(f"{command.title}\t{key}" if key else command.title)
            action.setEnabled(not reason)
            action.setToolTip(plain_tooltip(reason))
            action.setData(command.id)
            if command.is_on is not None:
                action.setCheckable(True)
                action.setChecked(command.is_on(actions))
            if command.group:
                group = groups.setdefault(command.group, QActionGroup(menu))
                group.setExclusionPolicy(QActionGroup.ExclusionPolicy.ExclusiveOptional)
                group.addAction(action)
    return menu


def build_full_menu(actions: Actions) -> QMenu:
    """Return a menu of all commands by section, with the recent files."""
    menu = QMenu(actions.window)
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    menu.setStyleSheet(theme.sheet())
    for section in dict.fromkeys(command.section for command in commands.TABLE):
        inner = build_menu(actions, (section,), menu.addMenu(section))
        if section == commands.FILE:
            recent = inner.addMenu("Open recent")
            recent.setStyleSheet(theme.sheet())
            paths = actions.settings.recent()
            recent.setEnabled(bool(paths))
            for path in paths:
                action = recent.addAction(clean_text(path.name).replace("&", "&&"))
                action.setToolTip(plain_tooltip(str(path)))
                action.setData(f"{RECENT}{path}")
    return menu
