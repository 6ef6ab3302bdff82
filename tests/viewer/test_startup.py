"""The measures for a fast start have no side effects on Python and Qt."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Qt's libraries are loaded beside on Linux alone")


def run_script(script: str, **environment: str) -> str:
    """Return what a new Python process prints."""
    known = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**known, **environment}
    )
    return run.stdout.strip()


@LINUX
def test_qt_libraries_are_preloaded_and_are_those_that_pyside_uses() -> None:
    script = """
import sys
from pathlib import Path
from viewer import startup

def loaded():
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if "libQt6" in line or "libfontconfig" in line}

import threading
with startup.preload_qt():
    pass
assert threading.active_count() == 1
before = loaded()
assert not any(name.startswith("PySide6") for name in sys.modules)
from PySide6.QtWidgets import QApplication
from PySide6.QtGui import QFontDatabase
app = QApplication([])
after = loaded()
print(sorted({Path(path).name.split(".")[0] for path in before}), before <= after, len(QFontDatabase.families()) > 0)
print(len([path for path in after if "libQt6Core" in path]))
"""
    names, once = run_script(script, QT_QPA_PLATFORM="offscreen").splitlines()
    for name in ("libQt6Core", "libQt6Gui", "libQt6Widgets", "libfontconfig"):
        assert name in names
    assert names.endswith("True True")
    assert once == "1"


def test_missing_library_is_ignored() -> None:
    script = "from viewer import startup; startup._load(['/nowhere/libQt6Core.so.6']); print('on')"
    assert run_script(script) == "on"


def test_pyside_does_not_inspect_later_imports(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import json\n")
    script = """
import builtins, linecache
from viewer import startup
before = builtins.__import__
startup.bypass_import_hook()  # without PySide it changes nothing
assert builtins.__import__ is before
from PySide6.QtCore import QObject
startup.bypass_import_hook()
startup.bypass_import_hook()
import late
print(builtins.__import__.__name__, late.__file__ in linecache.cache)
"""
    known = os.environ.get("PYTHONPATH", "")
    name, read = run_script(script, PYTHONPATH=os.pathsep.join(filter(None, [str(tmp_path), known]))).split()
    assert name != "__feature_import__"
    assert read == "False"


@pytest.mark.parametrize(("variables", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_number_of_threads_set_by_the_user_is_kept(variables: dict[str, str], threads: str) -> None:
    script = "import os; from viewer import startup; startup.limit_threads(); print(os.environ['OPENBLAS_NUM_THREADS'])"
    assert run_script(script, **variables) == threads


def test_window_starts_without_what_asks_whole_runs() -> None:
    script = """
import sys
import viewer.__main__, viewer.widgets.main_window
print(sorted(name for name in sys.modules if name in ("duckdb", "pyarrow") or name.startswith("viewer.runs.")))
"""
    assert run_script(script, QT_QPA_PLATFORM="offscreen") == "[]"
