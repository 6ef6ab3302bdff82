"""pi0-export as a command: exit codes, interruption, files that grow, what it imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import make_results
import psutil
import pytest
from paths import ROOT
from PySide6.QtGui import QImage

if TYPE_CHECKING:
    from collections.abc import Sequence


def begun(arguments: Sequence[str]) -> subprocess.Popen[str]:
    bare = {name: value for name, value in os.environ.items() if "DISPLAY" not in name and name != "QT_QPA_PLATFORM"}
    return subprocess.Popen(
        [sys.executable, "-m", "viewer.export", *arguments], env={**bare, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def run(*arguments: str) -> tuple[int, str, str]:
    process = begun(arguments)
    out, said = process.communicate(timeout=120)
    return process.returncode, out, said


def test_the_command_of_the_readme_just_works_without_a_screen(small: Path, tmp_path: Path) -> None:
    code, out, said = run("summary", str(small), "-o", str(tmp_path))
    assert (code, said) == (0, "")
    assert out == f"8 files in {tmp_path / 'small'}\n"
    names = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert names == sorted(
        f"{phase}_L{layer}_attn_vis_mean.jpg" for phase in ("prefix", "suffix") for layer in range(4)
    )
    again, _, said = run("summary", str(small), "-o", str(tmp_path))
    assert again == 2
    assert said.startswith(
        f"pi0-export: {tmp_path}/small/prefix_L0_attn_vis_mean.jpg and 7 more exist; add --overwrite"
    )
    assert run("summary", str(small), "-o", str(tmp_path), "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["summary", "nowhere.h5"], "There is no file nowhere.h5"),
        (["summary", __file__], "is not an HDF5 file"),
        (["summary", "FILE", "--layers", "99"], "There is no layer 99"),
        (["summary", "FILE", "--words", "goose"], "There is no word “goose” in frame 1; its prompt has put"),
        (["summary", "FILE", "--size", "1"], "--size 1 cannot be"),
        (["summary", "FILE", "--size", "8000", "--scale", "16"], "pixels is too large"),
        (["summary", "FILE", "--opacity", "2"], "--opacity 2 cannot be"),
        (["summary", "FILE", "--rate", "2"], "unrecognized arguments: --rate 2; pi0-export -h lists"),
        (["video", "FILE", "--rate", "0"], "--rate 0 cannot be"),
        (["atlas", "FILE", "--score", "region"], "needs a region"),
        (["atlas", "FILE", "--score", "lift"], "needs a region"),
        (["table", "FILE", "--region", "exterior:4"], "--region exterior:4 cannot be read"),
        (["table", "FILE", "--region", "side:4,4"], "There is no camera side; the file has exterior, wrist."),
        (["table", "FILE", "--region", "wrist:4-16,4"], "is no box of patches; rows run from 0 to 15, columns to 15"),
        (["atlas", "FILE", "--region", "wrist:5-4,4"], "is no box of patches"),
        (["atlas", "FILE", "--region", "wrist:0,4"], "The region lies in the letterbox’s bars in frame 1"),
        (["atlas", "FILE", "--region", "wrist:6,4", "--score", "entropy"], "“entropy” is not about a region; take"),
        (["atlas", "FILE", "--region", "wrist:6,4", "--thumbnails"], "Small maps are not about a region"),
        (["atlas", "FILE", "--score", "change", "--phase", "prefix"], "Words have one pass"),
        (["summary", "FILE", "--over"], "unrecognized arguments: --over"),
        (["summary", "FILE", "--words", "duck", "DUCK"], "Two of these files would have the same name"),
        (["summary", "FILE", "--range=-inf:1"], "is empty"),
        (["difference", "FILE", "--against", "step=0", "--words", "duck"], "Words have one pass"),
        (["summary", ""], "is a folder"),
        (["summary", "x" * 5000], "There can be no file “xxx"),
        (["dance", "FILE"], "invalid choice: 'dance'"),
        ([], "required: KIND"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(small: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    given = [str(small) if word == "FILE" else word for word in arguments]
    code, out, said = run(*given, *(["-o", str(tmp_path / "out")] if given and given[0] != "dance" else []))
    assert code == 2
    assert says in said
    assert out == ""
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.*"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough figures that there is time to stop them."""
    recipe = make_results.Recipe(frames=6, layers=8, heads=8, steps=6, size=(360, 640))
    return make_results.write(tmp_path_factory.mktemp("large") / "large.h5", recipe)


def running(folder: Path, large: Path, processes: int, least: int) -> subprocess.Popen[str]:
    """An export of 1,152 figures of which some are written."""
    process = begun(["heads", str(large), "-o", str(folder), "--frames", "all", "--processes", str(processes)])
    end = time.monotonic() + 60
    while len(list(folder.rglob("head_*.jpg"))) < least:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def whole(folder: Path) -> int:
    """How many figures there are, each of them a whole picture."""
    found = [path for path in folder.rglob("*.jpg") if not path.name.startswith(".")]
    for path in found:
        assert path.read_bytes().endswith(b"\xff\xd9")
        assert not QImage(str(path)).isNull(), path
    return len(found)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_export_says_so_and_leaves_whole_files_alone(
    large: Path, tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    process = running(tmp_path, large, processes, 8)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it: the workers get it too
    else:
        process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert said.strip().endswith("pi0-export: stopped; what is finished stays, and nothing is half written.")
    assert "Traceback" not in said
    assert 8 <= whole(tmp_path) < 1152
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_qt_loads_is_not_lost_in_it(large: Path, tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import os, sys, builtins, viewer.export.__main__ as program\n"
        "real = builtins.__import__\n"
        "def load(name, *rest, **more):\n"
        "    if name == 'PySide6.QtGui' and 'PySide6.QtGui' not in sys.modules:\n"
        "        try:\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "        except BaseException:\n"
        "            pass  # as C does that calls Python\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = load\n"
        f"sys.argv[1:] = ['heads', {str(large)!r}, '-o', {str(tmp_path)!r}]\n"
        "sys.exit(program.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    said = "pi0-export: stopped; what is finished stays, and nothing is half written.\n"
    assert (done.returncode, done.stderr) == (130, said)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_killed_export_leaves_no_half_picture_and_no_process(large: Path, tmp_path: Path) -> None:
    process = running(tmp_path, large, 2, 8)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 60
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in workers):  # they end with it
        assert time.monotonic() < end
        time.sleep(0.05)
    assert whole(tmp_path) == len(list(tmp_path.rglob("head_*.jpg"))) < 1152
    folder = tmp_path / "large" / "L0_prefix_heads_frame1"
    (folder / f".head_00.jpg.{process.pid}.partial").write_bytes(b"half")
    words = ("--frames", "all", "--layers", "0", "--phase", "prefix")
    code, _, said = run("heads", str(large), "-o", str(tmp_path), *words, "--overwrite")
    assert (code, "Traceback" in said) == (0, False)
    # Folders that are not written again keep what the kill left: at most one hidden file a process.
    left = list(tmp_path.rglob("*.partial"))
    assert not [path for path in left if path.parent.name.startswith("L0_prefix")]
    assert len(left) <= 2


def test_several_processes_write_what_one_writes(small: Path, tmp_path: Path) -> None:
    for count in (1, 3):
        given = ["heads", str(small), "--frames", "all", "--format", "png", "--processes", str(count)]
        assert run(*given, "-o", str(tmp_path / str(count)))[0] == 0
    one, three = (sorted((tmp_path / name).rglob("*.png")) for name in ("1", "3"))
    assert len(one) == len(three) == 72
    for a, b in zip(one, three, strict=True):
        assert a.relative_to(tmp_path / "1") == b.relative_to(tmp_path / "3")
        assert a.read_bytes() == b.read_bytes()


def test_a_capture_that_still_runs_can_be_exported(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "new.h5.partial", make_results.Recipe(frames=3, done=2, complete=False))
    code, out, said = run(
        "film", str(tmp_path / "new.h5"), "--over", "frames", "--words", "duck", "-o", str(tmp_path / "o")
    )
    assert (code, said) == (0, "")
    assert out == f"{tmp_path}/o/new/prefix_film_frames.png\n"
    assert path.exists()


def test_a_second_file_is_subtracted(small: Path, tmp_path: Path) -> None:
    other = make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=9))
    given = ("difference", str(small), "--words", "duck", "--layers", "2", "--format", "svg", "-o", str(tmp_path))
    code, out, said = run(*given, "--other", str(other))
    assert (code, said) == (0, "")
    text = Path(out.strip()).read_text()
    assert "A · small.h5" in text
    assert "B · other.h5" in text
    code, _, said = run(*given, "--overwrite", "--other", str(tmp_path / "nowhere.h5"))
    assert code == 2
    assert "There is no file" in said


def test_progress_is_lines_of_json_for_the_window(small: Path, tmp_path: Path) -> None:
    code, out, said = run("--progress-lines", "summary", str(small), "-o", str(tmp_path))
    assert (code, said) == (0, "")
    lines = out.strip().splitlines()
    assert '{"done": 8, "total": 8}' in lines
    assert lines[-1].startswith('{"written": 8, "folder": ')


def test_the_window_does_not_load_what_writes_files() -> None:
    code = (
        "import sys, viewer.widgets.main_window, viewer.__main__, viewer.widgets.overlays.export_sheet\n"
        "heavy = {'cv2', 'av', 'PIL', 'pyarrow', 'viewer.export.figures.figure', 'viewer.export.renderer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_opencv_leaves_the_environment_as_it_was() -> None:
    code = (
        "import os\nbefore = dict(os.environ)\nfrom viewer.export.encoding import opencv\n"
        "opencv()\nassert dict(os.environ) == before\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
