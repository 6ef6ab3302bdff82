"""A slow file that grows: it is looked at in another thread, and the window goes on meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from growing_results import GrowingResults
from slow_source import SlowSource
from window_driver import close, show, spin, until

from viewer.io.open_file import find
from viewer.io.results import Results

if TYPE_CHECKING:
    from pathlib import Path


def test_new_frames_come_without_the_window_waiting(app: object, tiny: Path, tmp_path: Path) -> None:
    growing = GrowingResults(tmp_path / "a.h5", 3)
    assert growing.write_next() == "0"
    window = show(tiny, tmp_path)
    source = SlowSource(find(growing.path))
    results = Results(find(growing.path), source)
    window.show_results(results, False)
    until(lambda: window.session.results is results)
    until(lambda: not window.session.reader._tasks)
    assert growing.write_next() == "1"
    source.block()
    window.files.check_for_new_frames()
    until(lambda: source.waiting)
    window.session.update(layer=1)
    spin(0.02)
    assert results.done == 1
    assert window.session.shown.layer == 1
    source.release()
    until(lambda: window.panels.axes.rows["frame"].slider.maximum() == 1)
    window.session.update(frame=1)
    until(lambda: window.session.shown.frame == 1)
    close(window)
    growing.stop()
