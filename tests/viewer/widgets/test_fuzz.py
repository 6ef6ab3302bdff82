"""Random commands and events on a real window neither end it nor make it differ from its state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from random_events import MODAL, send_random_event
from window_driver import close, close_overlays, show, spin, until

from viewer.analysis.caption import caption
from viewer.analysis.carried_query import describe_missing
from viewer.controllers import commands
from viewer.model.view_state import position
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

EVENTS = int(os.environ.get("PI0_FUZZ", "400"))


def assert_consistent(window: MainWindow) -> None:
    """Assert that the window shows what its state says."""
    session, panels = window.session, window.panels
    spin(0.0)
    state, results = session.shown, session.results
    assert results is not None
    assert state == state.clamped(session.dims)
    for axis, row in panels.axes.rows.items():
        if row.slider.isEnabled():
            assert row.slider.value() == position(state, axis, session.dims.heads)
    if session.pin is None:
        sentence = f"{describe_missing(results, state)} {caption(results, state)}".strip()
        assert panels.sentence.accessibleDescription() == sentence
    assert panels.heat.opacity.value() == round(state.opacity * 100)
    assert panels.heat.range.buttons[state.range].isChecked()
    scene = session.plain_scene()
    assert scene is not None
    assert sum(scene.mass.values()) == pytest.approx(1, abs=5e-3)
    assert not window.grab().isNull()


def send_random_events(
    window: MainWindow,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
    extra: Callable[[np.random.Generator], str] | None = None,
) -> None:
    """Send random events, and compare the window with its state after every twenty."""
    perform = MainWindow.perform

    def bounded(self: MainWindow, command: commands.Command) -> None:
        if command.id not in MODAL:  # the palette and keys reach them too
            perform(self, command)

    monkeypatch.setattr(MainWindow, "perform", bounded)
    rng = np.random.default_rng(seed)
    events: list[str] = []
    for number in range(EVENTS):
        if extra is not None and rng.random() < 0.2:
            events.append(extra(rng))
        else:
            events.append(send_random_event(window, rng))
        spin(0.0)
        if number % 20 == 0:
            close_overlays(window)
            window.session.preview(None)
            window.session.hide_heat(False)
            window.session.blink(False)
            try:
                assert_consistent(window)
            except AssertionError as error:
                raise AssertionError(f"after {events[-25:]}") from error


@pytest.mark.parametrize("seed", [1, 2])
def test_window_survives_random_commands_and_events(
    app: QApplication, small: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = show(small, tmp_path)
    send_random_events(window, seed, monkeypatch)
    close(window)


@pytest.mark.parametrize("seed", [3, 4])
def test_random_commands_and_events_on_a_run(
    app: QApplication, mixed: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = show(mixed / "episode_000000.h5", tmp_path)
    window.open(mixed)
    until(lambda: window.files.run is not None and window.files.run.episodes.current is not None)
    run = window.files.run
    assert run is not None

    def leaf(rng: np.random.Generator) -> str:
        names = ("next_episode", "last_episode", "episodes", "find", "prompt", "faster", "play", "")
        name = names[int(rng.integers(len(names)))]
        if name:
            window.perform_id(name)
        else:
            run.episodes.go(int(rng.integers(12)))
        return name or "go"

    send_random_events(window, seed, monkeypatch, leaf)
    current = run.episodes.current
    assert current is not None
    assert window.session.path is not None
    assert window.session.path.name.startswith(run.episodes.run.episodes[current].name)
    close(window)
