"""Following a file that a capture is writing, up to its final name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from growing_results import GrowingResults
from PySide6.QtTest import QSignalSpy
from window_driver import close, show, until

from viewer.controllers.session import Session
from viewer.io.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtWidgets import QApplication

FRAMES = 6


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[GrowingResults]:
    growing = GrowingResults(tmp_path / "a.h5", FRAMES)
    assert growing.write_next() == "0"
    yield growing
    growing.stop()


def summarise_frame(results: Results, frame: int) -> tuple[object, ...]:
    """Return sums, labels and the prompt of a frame: something of every kind of dataset."""
    rows, mass = results.rows(frame, "text", 3), results.mass(frame, "text")
    assert mass is not None
    pictures = [results.picture(frame, camera, "source") for camera in range(2)]
    return (
        rows.image.sum(dtype=np.float64),
        rows.text.sum(dtype=np.float64),
        results.rows(frame, "action", 1).action.sum(dtype=np.float64),
        mass.sum(dtype=np.float64),
        *(0 if picture is None else picture.sum() for picture in pictures),
        tuple(chip.label for chip in results.chips(frame)),
        results.string("frames/prompt", frame),
    )


def test_followed_frames_equal_those_of_the_finished_file(capture: GrowingResults) -> None:
    results = Results(capture.path)
    followed = [summarise_frame(results, 0)]
    for frame in range(1, FRAMES):
        assert capture.write_next() == str(frame)
        assert results.grow()
        assert (results.done, results.file_change) == (frame + 1, "")
        followed.append(summarise_frame(results, frame))
        assert not results.grow()
    assert results.growing
    assert capture.write_next() == "finished"
    assert results.file_change == ""
    assert results.grow(), "it is complete now"
    assert results.file_change == ""
    assert (results.path, results.growing, results.complete) == (capture.path, False, True)
    results.close()
    finished = Results(capture.path)
    assert [summarise_frame(finished, frame) for frame in range(FRAMES)] == followed
    finished.close()


def test_session_follows_the_file_to_its_final_name(app: QApplication, capture: GrowingResults) -> None:
    session = Session()
    session.open(Results(capture.path))
    session.update(layer=1)
    session.flush()
    grew = QSignalSpy(session.grew)
    for _ in range(1, FRAMES):
        capture.write_next()
    assert capture.write_next() == "finished"
    session.follow()
    assert (grew.count(), session.dims.frames, session.shown.layer, session.can_undo) == (1, FRAMES, 1, True)
    assert session.path == capture.path
    session.update(frame=FRAMES - 1)
    session.flush()
    scene = session.scene()
    assert scene is not None
    assert scene.row_sum == pytest.approx(1, abs=0.02)
    session.open(None)


def test_reopening_a_growing_file_keeps_its_handle(app: QApplication, capture: GrowingResults, tmp_path: Path) -> None:
    window = show(Path(f"{capture.path}.partial"), tmp_path)
    results = window.session.results
    assert results is not None
    window.session.update(layer=1)
    capture.write_next()
    window.open(capture.path)
    until(lambda: "is open already" in window.notice.text)
    assert window.session.results is results
    assert (results.done, window.session.state.layer) == (2, 1)
    assert summarise_frame(results, 1)[0]
    for _ in range(2, FRAMES):
        capture.write_next()
    assert capture.write_next() == "finished"
    window.files.check_for_new_frames()
    assert window.windowTitle().startswith("a.h5 ")
    assert not results.growing
    assert not window.files._follow.isActive()
    window.open(capture.path)  # a finished file is reread
    until(lambda: window.session.results is not results)
    close(window)


def test_file_is_not_compared_with_itself(
    app: QApplication, capture: GrowingResults, small: Path, tmp_path: Path
) -> None:
    window = show(Path(f"{capture.path}.partial"), tmp_path)
    window.files.opening.start(capture.path, second=True)
    until(lambda: "is the open file itself" in window.notice.text)
    assert window.session.other is None
    window.open(small)
    until(lambda: window.session.path == small)
    window.files.opening.start(capture.path, second=True)
    until(lambda: window.session.other is not None)
    window.open(capture.path)  # the second file becomes the first: its old handle is closed before
    until(lambda: window.session.path == Path(f"{capture.path}.partial"))
    assert window.session.other is None
    capture.write_next()
    window.files.check_for_new_frames()
    assert window.session.results is not None
    assert summarise_frame(window.session.results, 1)[0]
    close(window)
