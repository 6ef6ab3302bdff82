"""The session: collected changes, undo, preview, clamping, new frames."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import make_results
from PySide6.QtCore import QObject, Signal
from PySide6.QtTest import QSignalSpy
from window_driver import spin

from viewer.controllers import history
from viewer.controllers.session import Session
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from PySide6.QtWidgets import QApplication


class ChangeLog(QObject):
    """Record of every `changed` signal of a session."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.changes: list[tuple[ViewState, ViewState]] = []
        session.changed.connect(self.note)

    def note(self, before: ViewState, after: ViewState) -> None:
        self.changes.append((before, after))


def test_updates_before_the_event_loop_are_one_change(session: Session) -> None:
    log = ChangeLog(session)
    for number in range(500):
        session.update(layer=number % 4, heads=(number % 3,))
    session.update(layer=2, heads=(1,))
    spin()
    assert len(log.changes) == 1
    assert (log.changes[0][1].layer, log.changes[0][1].heads) == (2, (1,))


def test_update_without_net_change_emits_nothing(session: Session) -> None:
    log = ChangeLog(session)
    session.update(layer=session.state.layer)
    session.update(layer=1)
    session.update(layer=0)
    spin()
    assert log.changes == []
    assert not session.can_undo


def test_undo_and_redo_visit_every_view(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MERGE_SECONDS", 0.0)
    for layer in (1, 2, 3):
        session.update(layer=layer)
        session.flush()
    session.undo()
    session.undo()
    assert session.shown.layer == 1
    session.redo()
    assert session.shown.layer == 2
    session.update(layer=0)
    session.flush()
    assert not session.can_redo
    session.undo()
    assert session.shown.layer == 2


def test_changes_between_begin_and_end_are_one_undo_step(session: Session) -> None:
    session.begin()
    for layer in (1, 2, 3):
        session.update(layer=layer)
        session.flush()
    session.end()
    session.update(step=1, query=Query("action", (1,)))
    session.flush()
    session.undo()
    assert session.shown.layer == 3
    session.undo()
    assert session.shown == ViewState()
    assert not session.can_undo


def test_fast_changes_of_one_field_are_one_undo_step(session: Session) -> None:
    for layer in (1, 2, 3):
        session.update(layer=layer)
        session.flush()
    session.undo()
    assert session.shown.layer == 0


def test_preview_changes_shown_but_not_state(session: Session) -> None:
    session.preview(Query("action", (3,)))
    spin()
    assert session.shown.query == Query("action", (3,))
    assert session.state.query == Query("text", (0,))
    session.preview(None)
    spin()
    assert session.shown == session.state
    assert not session.can_undo


def test_word_query_is_matched_in_a_frame_with_another_prompt(app: QApplication, tmp_path: Path) -> None:
    recipe = make_results.Recipe(frames=2, tasks=("put the duck in the bowl", "now quickly lift the duck"))
    session = Session()
    session.open(Results(make_results.write(tmp_path / "a.h5", recipe)))
    assert session.results is not None
    duck = next(n for n, chip in enumerate(session.results.chips(0)) if chip.text == "duck")
    session.update(query=Query("text", (duck,)))
    session.flush()
    session.update(frame=1)
    session.flush()
    chip = session.results.chips(1)[session.shown.query.first]
    assert (chip.text, session.shown.query.first != duck) == ("duck", True)
    session.open(None)


def test_view_is_clamped_to_the_axes_of_the_file(app: QApplication, small: Path) -> None:
    session = Session()
    session.open(Results(small), ViewState(frame=99, layer=99, query=Query("action", (99,)), step=99))
    assert (session.shown.frame, session.shown.layer, session.shown.step) == (2, 3, 2)
    assert session.shown.query == Query("action", (4,))
    session.update(layer=-5)
    session.flush()
    assert session.shown.layer == 0
    session.open(None)


RECORDER = """
import sys, h5py
file = h5py.File(sys.argv[1], "r+", libver=("v110", "v110"))
file.swmr_mode = True
for line in sys.stdin:
    file["frames/done"][()] = int(line)
    file.flush()
    print("written", flush=True)
"""


def test_file_without_value_norms_shows_no_contributions(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "bare.h5", make_results.Recipe(frames=1, norms=False))
    session, messages = Session(), []
    session.noticed.connect(messages.append)
    session.open(Results(path), ViewState(measure="contribution", layer=2))
    assert (session.state.measure, session.state.layer) == ("weight", 2)
    assert messages == ["bare.h5 has no value norms for this; raw weights are shown."]
    session.open(None)
    with_norms = make_results.write(tmp_path / "full.h5", make_results.Recipe(frames=1))
    session.open(Results(with_norms), ViewState(measure="contribution"))
    assert session.state.measure == "contribution"
    session.open_other(Results(path))
    assert session.pin is not None
    assert session.scene_of(*session.pin) is None, "a contribution is not compared with a weight"
    assert "bare.h5 has no value norms" in messages[-1]
    session.open(None)


def test_follow_finds_new_frames_of_a_running_capture(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5.partial", make_results.Recipe(done=1, complete=False))
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert recorder.stdin is not None
    assert recorder.stdout is not None
    try:
        recorder.stdin.write("1\n")
        recorder.stdin.flush()
        recorder.stdout.readline()
        session = Session()
        session.open(Results(tmp_path / "a.h5"))
        session.update(layer=2)
        session.flush()
        assert session.dims.frames == 1
        grew = QSignalSpy(session.grew)
        session.follow()
        assert grew.count() == 0
        recorder.stdin.write("3\n")
        recorder.stdin.flush()
        recorder.stdout.readline()
        session.follow()
        assert (grew.count(), session.dims.frames, session.shown.layer, session.can_undo) == (1, 3, 2, True)
        assert session.scene() is not None
        session.open(None)
    finally:
        recorder.communicate()


class SignalEmitter(QObject):
    sent = Signal(object, object)


def test_pyside_survives_five_thousand_signals(app: QApplication) -> None:
    """PySide6 6.12.0 on Python 3.11 loses a reference with each emit and crashes after some 570."""
    emitter, got = SignalEmitter(), []
    emitter.sent.connect(lambda before, after: got.append(after))
    state = ViewState(layer=1)
    for _ in range(5000):
        emitter.sent.emit(state, state)
    assert len(got) == 5000
    assert got[-1] is state
