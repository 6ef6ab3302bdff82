"""Child processes run nothing that lies in the current folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import episode_files
import pytest
from paths import ROOT

from capture import child_process
from capture.pipeline.worker_process import can_start_workers
from capture.results import schema

STRAY = "from pathlib import Path\nPath(__file__).with_name('stray_ran').touch()\nraise SystemExit('stray module')\n"
RUN_CAPTURE = """
import sys
import capture.pipeline.runner  # this process has its json and numbers before the current folder is on its path
from capture.__main__ import main
sys.path.insert(0, "")
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def stray_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules that have names of the standard library."""
    for name in ("json", "numbers"):
        (tmp_path / f"{name}.py").write_text(STRAY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(code: str, *arguments: str) -> str:
    """Return what a child process prints."""
    with child_process.start_python(code, *arguments, stdout=subprocess.PIPE) as process:
        return process.communicate(timeout=60)[0].decode()


@pytest.mark.parametrize("entry", ["", ".", "{folder}"])
def test_children_do_not_get_the_current_folder(
    stray_folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.syspath_prepend(entry.format(folder=stray_folder))
    monkeypatch.setenv("PYTHONPATH", entry.format(folder=stray_folder))
    assert str(stray_folder) not in child_process.child_path()
    code = "import json, numbers, sys; print(json.dumps([sys.path, sys.argv[1:]]))"
    path, arguments = json.loads(printed(code, "one", "two"))
    assert path == child_process.child_path()
    assert arguments == ["one", "two"]
    assert not (stray_folder / "stray_ran").exists()


def test_children_find_the_package_in_a_checkout_that_is_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", ["", *[entry for entry in sys.path if Path(entry).resolve() != ROOT.resolve()]])
    assert str(child_process.PACKAGE_ROOT) in child_process.child_path()
    assert (
        Path(printed("import capture; print(capture.__file__)").strip())
        == child_process.PACKAGE_ROOT / "capture/__init__.py"
    )


@pytest.mark.skipif(not can_start_workers(), reason="worker processes need Linux")
def test_worker_processes_of_a_dataset_run_ignore_stray_modules(checkpoint: Path, stray_folder: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    lengths = (3, 2)
    episode_files.write_lerobot(stray_folder / "data", lengths, state=("observation.state", 4), action=("action", 4))
    options = ["--checkpoint", str(checkpoint), "--sizes", str(checkpoint / "sizes.json"), "--denoise-steps", "2"]
    options += ["--dtype", "float32", "--device", "cpu", "--workers", "2", "--layers", "0", "--steps", "0"]
    options += ["--dataset", "data", "-o", "runs"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-P", "-c", RUN_CAPTURE, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    episodes = json.loads((stray_folder / "runs" / schema.INDEX_NAME).read_text())["episodes"]
    assert [episode["frames"] for episode in episodes] == list(lengths)
    assert not (stray_folder / "stray_ran").exists()
