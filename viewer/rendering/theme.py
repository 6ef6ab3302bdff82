"""Colours, fonts and spacing of the dark and the light theme."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication, QStyleFactory, QToolTip

MARGIN: Final = 16
GAP: Final = 12
RADIUS: Final = 6.0
"""Margins, gaps and corner radius in device-independent pixels."""
ACCENT: Final = "#F0A35C"
FUSION: Final = "fusion"
"""Name of the Qt style, and of the application property that is set once the style is."""
TOOLTIPS: Final = "styled tooltips"
"""Application property that is set once tooltips have the theme's style."""

GROUP_COLORS: Final = {
    "bos": "#8B7BD8", "prompt": "#5AA9E6", "template": "#4D8A8F", "state": "#4C6A92", "newline": "#7D6B8A",
    "action": "#D66A9C", "bars": "#5B6475",
}  # fmt: skip
"""Colours of the groups of keys: kinds of tokens, and letterbox bars."""
CAMERA_COLORS: Final = ("#F0803C", "#E2B714", "#C9583A", "#A8A032")


@dataclass(frozen=True, eq=False)
class Theme:
    """Colours of a theme, as hex names."""

    dark: bool
    window: str
    panel: str
    side: str
    raised: str
    hover: str
    line: str
    text: str
    secondary: str
    faint: str
    accent: str
    accent_text: str
    """The accent colour, dark enough for text on this window's background."""


DARK: Final = Theme(
    True,
    "#15171C",
    "#181B20",
    "#1A1D23",
    "#23262E",
    "#2B2F38",
    "#24272F",
    "#D7DAE0",
    "#8F97A6",
    "#3A3F4A",
    ACCENT,
    ACCENT,
)
LIGHT: Final = Theme(
    False,
    "#F7F8FA",
    "#FFFFFF",
    "#FFFFFF",
    "#EDEFF3",
    "#E3E6EC",
    "#E1E4EA",
    "#1D2129",
    "#5F6775",
    "#C6CBD4",
    ACCENT,
    "#9A5410",
)


class _Active:
    theme = DARK


def active() -> Theme:
    """Return the current theme."""
    return _Active.theme


def is_system_dark() -> bool:
    """Return whether the desktop uses a dark colour scheme; True if it does not say."""
    return QGuiApplication.styleHints().colorScheme() != Qt.ColorScheme.Light


def paint_with(theme: Theme) -> None:
    """Set the current theme without changing the application, for figures."""
    _Active.theme = theme


def apply(choice: str) -> None:
    """Apply a theme to the whole application: `dark`, `light` or `system`."""
    theme = LIGHT if choice == "light" or (choice == "system" and not is_system_dark()) else DARK
    _Active.theme = theme
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    # A property is used because the first access to a QStyle makes PySide set up dozens of classes: 15 ms.
    if not app.property(FUSION):
        app.setStyle(QStyleFactory.create("fusion"))
        app.setProperty(FUSION, True)
    app.setFont(font())
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: theme.window, QPalette.ColorRole.Base: theme.panel,
        QPalette.ColorRole.AlternateBase: theme.side, QPalette.ColorRole.Button: theme.raised,
        QPalette.ColorRole.Text: theme.text, QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.ButtonText: theme.text, QPalette.ColorRole.PlaceholderText: theme.secondary,
        QPalette.ColorRole.Highlight: theme.accent, QPalette.ColorRole.HighlightedText: "#15171C",
        QPalette.ColorRole.ToolTipBase: theme.raised, QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.Link: theme.accent_text,
    }  # fmt: skip
    for role, value in roles.items():
        palette.setColor(role, QColor(value))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.WindowText, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.faint))
    app.setPalette(palette)
    QToolTip.setPalette(palette)
    QToolTip.setFont(font(12))
    if app.property(TOOLTIPS):
        style_tooltips()


def style_tooltips() -> None:
    """Give tooltips a quiet edge and room around their text, now and after each change of the theme.

    Called after the first picture, as it takes 6 ms. It is the one style sheet of the whole application: changes of the
    view take no longer with it, as it has no rule for any widget of the window.
    """
    colors, app = active(), QApplication.instance()
    assert isinstance(app, QApplication)
    app.setProperty(TOOLTIPS, True)
    app.setStyleSheet(
        f"QToolTip {{ background: {colors.raised}; color: {colors.text}; border: 1px solid {colors.faint};"
        " padding: 2px 3px; }"
    )


@cache
def font(pixels: float = 13, *, bold: bool = False) -> QFont:
    """Return the interface font with tabular figures: Inter if installed, else the system's; `pixels` is its size."""
    interface_font = QFont()
    system = QGuiApplication.font().families()
    interface_font.setFamilies(["Inter", *[name for name in system if name != "Inter"]])
    interface_font.setPixelSize(round(pixels))
    if pixels != round(pixels):
        interface_font.setPointSizeF(pixels * 72 / QGuiApplication.primaryScreen().logicalDotsPerInch())
    interface_font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    interface_font.setFeature(QFont.Tag("tnum"), 1)
    return interface_font


@cache
def metrics(pixels: float = 13, *, bold: bool = False) -> QFontMetricsF:
    """Return the font metrics of `font`."""
    return QFontMetricsF(font(pixels, bold=bold))


@cache
def line(pixels: float = 13, *, bold: bool = False) -> float:
    """Return the line height of `font` in pixels."""
    return metrics(pixels, bold=bold).height()


@cache
def color(value: str, alpha: float = 1.0) -> QColor:
    """Return a colour by its hex name, with an alpha from 0 to 1. The object is cached: do not modify it."""
    mixed = QColor(value)
    mixed.setAlphaF(alpha)
    return mixed


def group_color(group: str, cameras: tuple[str, ...]) -> str:
    """Return the colour of a group of keys: a camera, its letterbox bars, or a kind of token."""
    if group in cameras:
        return CAMERA_COLORS[cameras.index(group) % len(CAMERA_COLORS)]
    if group.endswith(" bars"):
        return GROUP_COLORS["bars"]
    return GROUP_COLORS.get(group, "#828A99")


def sheet() -> str:
    """Return the style sheet of Qt's standard widgets: menus, fields, tables, scroll bars.

    It is set on single widgets: with rules for them on the application, Qt would paint every such widget through the
    slower style.
    """
    colors = active()
    return f"""
    QMenu {{ background: {colors.raised}; color: {colors.text}; border: 1px solid {colors.line};
        border-radius: 8px; padding: 5px; }}
    QMenu::item {{ padding: 5px 22px 5px 12px; border-radius: 4px; }}
    QMenu::item:selected {{ background: {colors.hover}; color: {colors.text}; }}
    QMenu::item:disabled {{ color: {colors.secondary}; }}
    QMenu::separator {{ height: 1px; background: {colors.line}; margin: 5px 8px; }}
    QMenu::indicator {{ width: 6px; height: 6px; left: 4px; border-radius: 3px; }}
    QMenu::indicator:checked {{ background: {colors.accent}; }}
    QLineEdit {{ background: {colors.panel}; color: {colors.text}; border: 1px solid {colors.line};
        border-radius: 5px; padding: 2px 6px;
        selection-background-color: {colors.accent}; selection-color: #15171C; }}
    QLineEdit:focus {{ border: 2px solid {colors.accent}; padding: 1px 5px; }}
    QTableView, QListView, QTextBrowser {{ background: {colors.panel}; color: {colors.text}; border: none;
        outline: none; gridline-color: {colors.line}; selection-background-color: {colors.hover};
        selection-color: {colors.text}; }}
    QTableView::item, QListView::item {{ padding: 3px 6px; border-radius: 4px; }}
    QHeaderView::section {{ background: {colors.panel}; color: {colors.secondary}; border: none;
        border-bottom: 1px solid {colors.line};
        padding: 3px 6px; }}
    QScrollBar {{ background: transparent; width: 9px; height: 9px; margin: 0; }}
    QScrollBar::handle {{ background: {colors.faint}; border-radius: 3px; margin: 1px;
        min-height: 24px; min-width: 24px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
    """
