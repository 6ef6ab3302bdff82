"""Painting reads no file, and an exception while painting stays within its panel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from window_driver import close, press, settle, show, spin, until, wait_until_idle

from viewer.analysis import scene as scene_module
from viewer.controllers.settings import Settings
from viewer.io.cache import Cache
from viewer.io.hdf5_guard import Guarded
from viewer.model.view_state import Query
from viewer.model.zoom import Zoom
from viewer.widgets.main_window import MainWindow
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

PAINTING = {"paintEvent", "paint"}


def is_painting() -> bool:
    """Whether a paint method of a widget or delegate is on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in PAINTING:
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def no_reads_while_painting(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Raise in every paint that asks the file or its cache for anything; count the other reads."""
    counts = {"reads": 0, "paints": 0}

    def guard(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def checked(self: Any, *arguments: Any, **named: Any) -> Any:
            if is_painting():
                raise AssertionError(f"{owner.__name__}.{name}{arguments[:1]} while painting")
            counts["reads"] += 1
            return original(self, *arguments, **named)

        monkeypatch.setattr(owner, name, checked)

    guard(Guarded, "find")
    guard(Cache, "get")
    for function in ("compose", "compare"):
        original = getattr(scene_module, function)

        def composed(*arguments: Any, original: Any = original) -> Any:
            assert not is_painting(), "a scene is composed while painting"
            return original(*arguments)

        monkeypatch.setattr(scene_module, function, composed)
    paint_event = Panel.paintEvent

    def counted(self: Panel, event: Any) -> None:
        counts["paints"] += 1
        paint_event(self, event)

    monkeypatch.setattr(Panel, "paintEvent", counted)
    yield counts
    assert counts["reads"] > 20
    assert counts["paints"] > 20


CHANGES: tuple[dict[str, object], ...] = (
    {"query": Query("text", (5,))},
    {"query": Query("text", (4, 6))},
    {"query": Query("action", (2,))},
    {"step": 2},
    {"layer": 1},
    {"heads": (1,)},
    {"heads": (), "reduce": "max"},
    {"reduce": "mean", "frame": 1},
    {"film": "steps"},
    {"film": "frames"},
    {"film": "layers-frames"},
    {"film": "layers"},
    {"curve": "steps"},
    {"curve": "layers"},
    {"curve": "frames"},
    {"thumbnails": True},
    {"layer": 0, "colours": "viridis"},
    {"thumbnails": False, "score": "entropy"},
    {"region": ((0, 5, 5), (0, 5, 6))},
    {"score": "lift"},
    {"left_out": ("bos",)},
    {"unit": "uniform", "left_out": ()},
    {"measure": "contribution"},
    {"range": "map", "scale": "log"},
    {"scale": "rank"},
    {"scale": "linear", "range": "shared", "measure": "weight", "unit": "weight"},
    {"picture": "model"},
    {"picture": "source", "smooth": True, "grid": False},
    {"frame": 2},
)


@pytest.mark.parametrize("size", [(1280, 800), (1000, 700)])
def test_no_panel_reads_while_painting(
    app: QApplication, small: Path, tmp_path: Path, no_reads_while_painting: dict[str, int], size: tuple[int, int]
) -> None:
    window = show(small, tmp_path, size)
    for change in CHANGES:
        window.session.update(**change)
        spin(0.01)
    for tab in window.panels.tab_names:
        window.panels.show_tab(tab)
        window.session.update(frame=(window.session.state.frame + 1) % 3, query=Query("action", (1,)))
        spin(0.01)
        window.session.update(layer=(window.session.state.layer + 1) % 3)
        spin(0.01)
    wait_until_idle(window)
    for command in ("pin", "side", "difference", "side"):
        window.perform_id(command)
        window.session.update(frame=(window.session.state.frame + 1) % 3)
        spin(0.01)
    press(window, Qt.Key.Key_B)
    window.session.blink(True)
    spin(0.01)
    window.session.blink(False)
    window.session.hide_heat(True)
    spin(0.01)
    window.session.hide_heat(False)
    pane = window.panels.camera_grid.panes[0]
    QTest.mouseMove(pane, QPoint(40, 60))
    spin(0.01)
    QTest.mouseMove(pane, QPoint(60, 90))
    spin(0.01)
    window.resize(size[0] + 90, size[1] + 60)
    settle(window)
    pane.zoom = Zoom(3.0)
    pane.update()
    window.set_theme("light")
    spin(0.01)
    window.set_theme("dark")
    window.panels.render_picture()
    for sheet in ("palette", "help", "export"):
        window.overlays.show(sheet)
        spin(0.05)
        window.overlays.close()
    spin(0.01)
    close(window)


def test_no_panel_reads_while_painting_another_episode(
    app: QApplication, mixed: Path, tmp_path: Path, no_reads_while_painting: dict[str, int]
) -> None:
    settings = Settings(tmp_path / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.resize(1280, 800)
    window.show()
    window.open(mixed)
    until(lambda: window.session.results is not None and window.files.run is not None)
    settle(window)
    first = window.session.results
    press(window, Qt.Key.Key_PageDown)
    until(lambda: window.session.results is not first)
    window.session.update(layer=1)
    wait_until_idle(window)
    settle(window)
    close(window)


def test_exception_while_painting_shows_a_sentence_in_its_panel_only(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, no_silent_errors: list[BaseException]
) -> None:
    mass, timeline = window.panels.mass, window.panels.timeline
    image = mass.grab().toImage()
    before = timeline.grab().toImage()

    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("no share")

    monkeypatch.setattr(mass, "paint", fail)
    mass.update()
    spin()
    assert [str(error) for error in no_silent_errors] == ["no share"] * len(no_silent_errors)
    assert no_silent_errors
    assert window.notice.text == (
        "Where this row’s weight goes cannot be drawn (ZeroDivisionError: no share); the rest of the window goes on."
    )
    failed = mass.grab().toImage()
    assert failed != image
    colours = {failed.pixel(x, y) for x in range(failed.width()) for y in range(24)}
    assert len(colours) > 2, "a sentence is written"
    assert timeline.grab().toImage() == before
    window.notice.hide()
    monkeypatch.undo()
    press(window, Qt.Key.Key_Up)
    press(window, Qt.Key.Key_Down)
    assert mass.grab().toImage() == image
    no_silent_errors.clear()


def test_hidden_panel_loads_when_it_is_shown(window: MainWindow) -> None:
    chart = window.panels.action_chart
    window.session.update(frame=1)
    spin()
    assert not chart.isVisible()
    assert chart._content == {}
    window.panels.show_tab("action_chart")
    spin()
    results = window.session.results
    assert results is not None
    expected = results.flow("action/predicted", 1)
    assert expected is not None
    assert chart._content["predicted"] is not None
    assert (chart._content["predicted"] == expected).all()


def test_every_panel_of_the_window_uses_the_guarded_paint_event(window: MainWindow) -> None:
    panels = [widget for widget in window.findChildren(QWidget) if isinstance(widget, Panel)]
    assert len(panels) > 12
    assert [panel for panel in panels if "paintEvent" in vars(type(panel))] == []
