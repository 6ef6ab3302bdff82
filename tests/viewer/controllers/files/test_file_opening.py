"""Opening files: checks, error and waiting pages, the remembered view, the demo."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from window_driver import close, show, spin, until

from viewer.analysis.initial_view import first_view
from viewer.analysis.probe import Probe
from viewer.controllers.settings import Settings
from viewer.io.demo_files import find_demo_path
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


def test_view_and_recent_files_are_restored(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, (1300, 820))
    window.session.update(layer=1, heads=(2,), colours="magma")
    spin()
    close(window)
    second = show(small, tmp_path, (1300, 820))
    assert (second.session.state.layer, second.session.state.heads, second.session.state.colours) == (1, (2,), "magma")
    assert second.settings.recent() == [small]
    close(second)


def test_failure_is_a_page_or_a_notice_and_a_dropped_file_opens(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = MainWindow(Settings(tmp_path / "s.ini"))
    window.settings.set_text("toured", "yes")
    window.show()
    assert window.page.title.text() == "See what Pi0.5 looks at"
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no")
    window.open(bad)
    until(lambda: window.page.title.text() == "This cannot be opened")
    assert "is not an HDF5 file" in window.page.text.text()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(small))])
    window.dropEvent(
        QDropEvent(
            QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        )
    )
    until(lambda: window.session.results is not None)
    assert window.stack.currentWidget() is window.panels
    window.open(bad)
    until(lambda: "is not an HDF5 file" in window.notice.text)
    assert window.session.results is not None, "the open file stays"
    window.perform_id("close")
    assert window.session.results is None
    assert window.page.title.text() == "See what Pi0.5 looks at"
    close(window)


def test_slow_opening_shows_a_page_with_a_stop_button(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viewer.controllers.files.file_opening.VERY_SLOW_MILLISECONDS", 200)
    window = MainWindow(Settings(tmp_path / "s.ini"))
    window.show()
    monkeypatch.setattr(Probe, "poll", lambda self: None)
    window.open(small)
    until(lambda: window.page.title.text().startswith("Still reading"))
    assert window.page.stop.isVisible()
    assert window.page.open.isVisible()
    window.page.stop.click()
    assert not window.files.opening.busy
    assert window.page.title.text() == "See what Pi0.5 looks at"
    assert not window.page.stop.isVisible()
    close(window)


def test_missing_demo_shows_an_error_page(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.io.demo_files.find_demo_path", lambda: None)
    window.perform_id("close")
    window.perform_id("demo")
    assert "demo is not part" in window.page.text.text()


def test_file_without_frames_shows_a_waiting_page(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(done=0, complete=False))
    window = show(path, tmp_path)
    assert window.stack.currentWidget() is window.page
    assert "no finished frame yet" in window.page.title.text()
    close(window)


def test_finished_capture_is_reopened_under_its_final_name(app: QApplication, tmp_path: Path) -> None:
    partial = make_results.write(tmp_path / "a.h5.partial", make_results.Recipe(done=2, complete=False))
    window = show(partial, tmp_path, layer=1)
    path = make_results.write(tmp_path / "b.h5", make_results.Recipe())
    shutil.move(path, tmp_path / "a.h5")
    partial.unlink()
    window.files.check_for_new_frames()
    until(lambda: window.session.path == tmp_path / "a.h5")
    assert (window.session.dims.frames, window.session.state.layer) == (3, 1)
    close(window)


def test_first_view_of_a_file_without_text_is_an_action(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1))
    import h5py

    with h5py.File(path, "r+") as file:
        del file["text/to_image"], file["text/to_text"]
        file["text/role"][...] = 5
    results = Results(path)
    assert first_view(results).query == Query("action", (0,))
    results.close()
    assert ViewState().query.kind == "text"


def test_demo_opens_with_the_noun_and_the_pointing_head(app: QApplication, tmp_path: Path) -> None:
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    path = find_demo_path()
    assert path is not None
    window.show_results(Results(path), False)
    state = window.session.state
    assert (state.layer, state.heads, state.query) == (1, (0,), Query("text", (5,)))
    assert window.session.results.chips(0)[5].label == "duck"
    scene = window.session.plain_scene()
    camera, row, col = np.unravel_index(scene.maps.argmax(), scene.maps.shape)
    assert scene.maps[camera, row, col] > 0.2
    window.close()
