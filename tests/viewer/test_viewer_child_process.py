"""Child Python processes find the package and import nothing from the current folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import make_run
import pytest
from paths import ROOT

from viewer import child_process

STRAY = ("json", "numbers", "h5py", "pickle", "numpy", "viewer")
"""Names of modules that a folder of data may contain by accident and that must not be imported from there."""
VIEWER = """
import sys, viewer.__main__ as program

create_window = program.prepared

def create_window_that_quits(options):
    from PySide6.QtCore import QCoreApplication, QElapsedTimer, Qt, QTimer
    from PySide6.QtTest import QTest

    window, clock = create_window(options), QElapsedTimer()
    clock.start()

    def quit_when_previewed():
        from viewer.widgets.overlays.export_sheet import ExportSheet

        sheet = window.findChild(ExportSheet)
        if clock.elapsed() > 60_000:
            QCoreApplication.exit(3)
        elif sheet is None and window.session.results is not None:
            QTest.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
        elif sheet is not None and sheet.preview.error:
            print(sheet.preview.error, file=sys.stderr)
            QCoreApplication.exit(4)
        elif sheet is not None and sheet.preview.image is not None:
            window.close()
            QCoreApplication.exit(0)

    timer = QTimer(window)
    timer.timeout.connect(quit_when_previewed)
    timer.start(50)
    return window

program.prepared = create_window_that_quits
if __name__ == "__main__":
    sys.exit(program.main())
"""
EXPORT = "import sys\nfrom viewer.export.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
SPAWNING_EXPORT = EXPORT.replace(
    "\nif", "\nfrom viewer.export import process_pool\nprocess_pool._can_fork = lambda: False\nif"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder of two results files and of Python files that write a marker file when imported."""
    folder = tmp_path / "data"
    for number in range(2):
        make_run.write_episode(folder, number)
    (tmp_path / "marks").mkdir()
    for name in STRAY:
        mark = tmp_path / "marks" / name
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\nraise ImportError('stray')\n")
    return folder


def run_command(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a console script from the folder of data; the script lies in another folder, as after an installation."""
    path = folder.parent / "bin" / "command"
    path.parent.mkdir()
    path.write_text(script)
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen", "HOME": str(folder.parent)},
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def imported_strays(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder.parent / "marks").iterdir())


def test_window_and_export_preview_import_nothing_from_the_current_folder(data: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.ini"
    settings.write_text("[General]\ntoured=yes\n")
    completed = run_command(VIEWER, data, ".", "--settings", str(settings))
    assert imported_strays(data) == []
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.parametrize("script", [EXPORT, SPAWNING_EXPORT], ids=["forked", "spawned"])
def test_export_processes_import_nothing_from_the_current_folder(data: Path, script: str) -> None:
    completed = run_command(script, data, "summary", "episode_000000.h5", "--layers", "last", "--processes", "2")
    assert imported_strays(data) == []
    assert completed.returncode == 0, completed.stderr
    assert len(list((data / "results").rglob("*.jpg"))) == 2


@pytest.mark.parametrize("copied", [False, True], ids=["checkout", "copy elsewhere"])
def test_child_process_imports_the_package_of_its_parent(tmp_path: Path, copied: bool) -> None:
    root = ROOT
    if copied:
        root = tmp_path / "packages"
        for package in ("viewer", "capture"):
            shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import subprocess\nfrom viewer import child_process\n"
        "command = child_process.create_python_command('viewer.export', '--version')\n"
        "command[-3:] = ['-c', 'import sys, viewer; print(viewer.__file__, sys.path)']\n"
        "print(subprocess.run(command, env=child_process.create_python_environment(), capture_output=True, text=True).stdout)"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(["", str(root)])}
    command = [sys.executable, "-P", "-c", code]
    completed = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    file, _, path = completed.stdout.strip().partition(" ")
    assert Path(file) == root / "viewer" / "__init__.py"
    assert repr(str(tmp_path)) not in path
    assert "''" not in path


def test_current_folder_is_dropped_from_pythonpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(tmp_path), "/elsewhere"]))
    entries = child_process.create_python_environment()["PYTHONPATH"].split(os.pathsep)
    assert entries[-1] == "/elsewhere"
    assert set(entries) <= {str(child_process.PACKAGE_ROOT), "/elsewhere"}


def test_safe_multiprocessing_restores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(child_process.SAFE_PATH, raising=False)
    with child_process.safe_multiprocessing():
        assert os.environ[child_process.SAFE_PATH] == "1"
    assert child_process.SAFE_PATH not in os.environ
    monkeypatch.setenv(child_process.SAFE_PATH, "set before")
    with child_process.safe_multiprocessing():
        assert os.environ[child_process.SAFE_PATH] == "1"
    assert os.environ[child_process.SAFE_PATH] == "set before"
