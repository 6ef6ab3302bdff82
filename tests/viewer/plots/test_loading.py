"""pyqtgraph is imported after the first picture, in pieces; without it one sentence says so."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import make_results
import PySide6.QtWidgets
import pytest
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent
from window_driver import close, show, until

from viewer.errors import UserError
from viewer.io.results import Results
from viewer.plots.loading import REQUIREMENT, import_pyqtgraph, unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

FIRST_PICTURE = """
import sys, tempfile
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
app = QApplication([])
from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.widgets.main_window import MainWindow
from viewer.widgets.panels.camera_pane import CameraPane

painted = []
paint = CameraPane.paintEvent
def paint_and_note(self, event):
    paint(self, event)
    painted.append(sys.modules.get("pyqtgraph") is not None)
CameraPane.paintEvent = paint_and_note
settings = Settings(Path(tempfile.mkdtemp()) / "settings.ini")
settings.set_text("toured", "yes")
window = MainWindow(settings)
window.show_results(Results(Path(sys.argv[1])), False)
window.show()
while not window.plot_loader.is_done:
    app.processEvents()
print(painted[0], sys.modules.get("pyqtgraph") is not None, window.notice.text)
window.close()
"""


def run_python(script: str, *arguments: str) -> str:
    completed = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def test_first_picture_is_painted_before_pyqtgraph_is_imported(tiny: Path) -> None:
    assert run_python(FIRST_PICTURE, str(tiny)) == "False True"


def test_window_works_without_pyqtgraph_and_shows_a_note(tiny: Path) -> None:
    blocked = "import sys; sys.modules['pyqtgraph'] = None\n" + FIRST_PICTURE
    output = run_python(blocked, str(tiny))
    assert output.startswith("False False Plots are drawn without pyqtgraph, which cannot be imported")
    assert output.endswith(f'pip install "{REQUIREMENT}"')


@pytest.mark.parametrize("module", ["__main__", "export.__main__", "controllers.session", "analysis.scene", "startup"])
def test_commands_and_session_import_no_pyqtgraph(module: str) -> None:
    assert run_python(f"import sys, viewer.{module}; print('pyqtgraph' in sys.modules)") == "False"


def test_import_is_split_into_pieces() -> None:
    assert sum(1 for _ in import_pyqtgraph()) >= 5
    import pyqtgraph

    assert pyqtgraph.getConfigOption("imageAxisOrder") == "row-major"


def test_names_of_qt_are_taken_at_their_first_use() -> None:
    script = (
        "import PySide6.QtWidgets as there; every = dir(there)\n"
        "from viewer.plots.loading import import_pyqtgraph\n"
        "list(import_pyqtgraph())\n"
        "from pyqtgraph.Qt import QtWidgets\n"
        "print('QCalendarWidget' in vars(QtWidgets), QtWidgets.QCalendarWidget is there.QCalendarWidget,\n"
        "      'QCalendarWidget' in vars(QtWidgets), hasattr(QtWidgets, 'QNothing'), dir(there) == every)"
    )
    assert run_python(script) == "False True True False True"


def test_old_release_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyqtgraph

    monkeypatch.setattr(pyqtgraph, "__version__", "0.13.7")
    with pytest.raises(UserError, match=r"release 0\.13\.7 is too old"):
        list(import_pyqtgraph())


def test_any_error_of_the_import_becomes_the_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "pyqtgraph"
    package.mkdir()
    (package / "__init__.py").write_text("raise AttributeError('no QtWidgets')")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyqtgraph"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError) as error:
        list(import_pyqtgraph())
    assert str(error.value) == unavailable("AttributeError: no QtWidgets")
    assert not any(name.startswith("pyqtgraph.Qt") for name in sys.modules)
    assert "QWidget" in dir(PySide6.QtWidgets)


def test_panes_replaced_while_plots_are_built_cause_no_error(app: QApplication, small: Path, tmp_path: Path) -> None:
    other_file = make_results.write(tmp_path / "other.h5", make_results.Recipe(cameras=("left", "right", "top")))
    window = show(small, tmp_path, plots=False)
    loader, grid = window.plot_loader, window.panels.camera_grid
    loader.start()
    loader._timer.stop()  # the test runs the pieces
    while not grid._has_plots:
        loader._run_piece()
    before = list(grid.panes)
    window.show_results(Results(other_file), False)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not any(shiboken6.isValid(pane) for pane in before)
    loader._timer.start()
    until(lambda: loader.is_done)
    assert len(grid.panes) == 3
    assert all(pane.has_plot for pane in grid.panes)
    close(window)
