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

from viewer.export import cli

if TYPE_CHECKING:
    from collections.abc import Sequence


def start_export(arguments: Sequence[str]) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if "DISPLAY" not in name and name != "QT_QPA_PLATFORM"
    }
    return subprocess.Popen(
        [sys.executable, "-m", "viewer.export", *arguments], env={**environment, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def run(*arguments: str) -> tuple[int, str, str]:
    process = start_export(arguments)
    out, stderr = process.communicate(timeout=120)
    return process.returncode, out, stderr


def test_readme_command_runs_without_a_screen(small: Path, tmp_path: Path) -> None:
    code, out, stderr = run("summary", str(small), "-o", str(tmp_path))
    assert (code, stderr) == (0, "")
    assert out == f"8 files in {tmp_path / 'small'}\n"
    names = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert names == sorted(
        f"{phase}_L{layer}_attn_vis_mean.jpg" for phase in ("prefix", "suffix") for layer in range(4)
    )
    second_code, _, stderr = run("summary", str(small), "-o", str(tmp_path))
    assert second_code == 2
    assert stderr.startswith(
        f"pi0-export: {tmp_path}/small/prefix_L0_attn_vis_mean.jpg and 7 more exist; add --overwrite"
    )
    assert run("summary", str(small), "-o", str(tmp_path), "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "nowhere.h5"], "There is no file nowhere.h5"),
        (["summary", __file__], "is not an HDF5 file"),
        (["summary", "FILE", "--layers", "99"], "There is no layer 99"),
        (["summary", "FILE", "--words", "goose"], "There is no word “goose” in frame 0; its prompt has put"),
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
        (["atlas", "FILE", "--region", "wrist:0,4"], "The region lies in the letterbox’s bars in frame 0"),
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
def test_bad_input_is_one_sentence_and_exit_code_2(
    small: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    words = [str(small) if word == "FILE" else word for word in arguments]
    code, out, stderr = run(*words, *(["-o", str(tmp_path / "out")] if words and words[0] != "dance" else []))
    assert code == 2
    assert message in stderr
    assert out == ""
    assert len(stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.*"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough figures that there is time to stop them."""
    recipe = make_results.Recipe(frames=6, layers=8, heads=8, steps=6, size=(360, 640))
    return make_results.write(tmp_path_factory.mktemp("large") / "large.h5", recipe)


def start_and_wait(folder: Path, large: Path, processes: int, least: int) -> subprocess.Popen[str]:
    """An export of 1,152 figures of which some are written."""
    process = start_export(["heads", str(large), "-o", str(folder), "--frames", "all", "--processes", str(processes)])
    end = time.monotonic() + 60
    while len(list(folder.rglob("head_*.jpg"))) < least:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def count_complete(folder: Path) -> int:
    """How many figures there are, each of them a whole picture."""
    pictures = [path for path in folder.rglob("*.jpg") if not path.name.startswith(".")]
    for path in pictures:
        assert path.read_bytes().endswith(b"\xff\xd9")
        assert not QImage(str(path)).isNull(), path
    return len(pictures)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_export_leaves_complete_files_only(
    large: Path, tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    process = start_and_wait(tmp_path, large, processes, 8)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it: the workers get it too
    else:
        process.send_signal(number)
    out, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert stderr.strip().endswith("pi0-export: stopped; what is finished stays, and nothing is half written.")
    assert "Traceback" not in stderr
    assert 8 <= count_complete(tmp_path) < 1152
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_qt_loads_is_not_lost(large: Path, tmp_path: Path, number: signal.Signals) -> None:
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
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    stderr = "pi0-export: stopped; what is finished stays, and nothing is half written.\n"
    assert (completed.returncode, completed.stderr) == (130, stderr)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_killed_export_leaves_no_incomplete_picture_and_no_process(large: Path, tmp_path: Path) -> None:
    process = start_and_wait(tmp_path, large, 2, 8)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 60
    while any(
        worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers
    ):  # they end with it
        assert time.monotonic() < end
        time.sleep(0.05)
    assert count_complete(tmp_path) == len(list(tmp_path.rglob("head_*.jpg"))) < 1152
    folder = tmp_path / "large" / "L0_prefix_heads_frame0"
    (folder / f".head_00.jpg.{process.pid}.partial").write_bytes(b"half")
    words = ("--frames", "all", "--layers", "0", "--phase", "prefix")
    code, _, stderr = run("heads", str(large), "-o", str(tmp_path), *words, "--overwrite")
    assert (code, "Traceback" in stderr) == (0, False)
    # Folders that are not written again keep what the kill left: at most one hidden file a process.
    left = list(tmp_path.rglob("*.partial"))
    assert not [path for path in left if path.parent.name.startswith("L0_prefix")]
    assert len(left) <= 2


def test_several_processes_write_the_same_files_as_one(small: Path, tmp_path: Path) -> None:
    for count in (1, 3):
        words = ["heads", str(small), "--frames", "all", "--format", "png", "--processes", str(count)]
        assert run(*words, "-o", str(tmp_path / str(count)))[0] == 0
    from_one, from_three = (sorted((tmp_path / name).rglob("*.png")) for name in ("1", "3"))
    assert len(from_one) == len(from_three) == 72
    for a, b in zip(from_one, from_three, strict=True):
        assert a.relative_to(tmp_path / "1") == b.relative_to(tmp_path / "3")
        assert a.read_bytes() == b.read_bytes()


def test_file_of_a_running_capture_can_be_exported(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "new.h5.partial", make_results.Recipe(frames=3, done=2, complete=False))
    code, out, stderr = run(
        "film", str(tmp_path / "new.h5"), "--over", "frames", "--words", "duck", "-o", str(tmp_path / "o")
    )
    assert (code, stderr) == (0, "")
    assert out == f"{tmp_path}/o/new/prefix_film_frames_L2_duck.png\n"
    assert path.exists()


def test_difference_subtracts_a_second_file(small: Path, tmp_path: Path) -> None:
    other_file = make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=9))
    words = ("difference", str(small), "--words", "duck", "--layers", "2", "--format", "svg", "-o", str(tmp_path))
    code, out, stderr = run(*words, "--other", str(other_file))
    assert (code, stderr) == (0, "")
    text = Path(out.strip()).read_text()
    assert "A · small.h5" in text
    assert "B · other.h5" in text
    code, _, stderr = run(*words, "--overwrite", "--other", str(tmp_path / "nowhere.h5"))
    assert code == 2
    assert "There is no file" in stderr


def test_progress_lines_option_writes_json(small: Path, tmp_path: Path) -> None:
    code, out, stderr = run("--progress-lines", "summary", str(small), "-o", str(tmp_path))
    assert (code, stderr) == (0, "")
    lines = out.strip().splitlines()
    assert '{"done": 8, "total": 8}' in lines
    assert lines[-1].startswith('{"written": 8, "folder": ')


def test_window_imports_no_encoder_or_renderer() -> None:
    code = (
        "import sys, viewer.widgets.main_window, viewer.__main__, viewer.widgets.overlays.export_sheet\n"
        "heavy = {'cv2', 'av', 'PIL', 'pyarrow', 'viewer.export.figures.figure', 'viewer.export.renderer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no X window system")
def test_figures_need_no_library_of_the_x_window_system(small: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom viewer.export.__main__ import main\n"
        "code = main(sys.argv[1:])\nmaps = Path('/proc/self/maps').read_text()\n"
        "print(code, 'libqoffscreen' in maps, 'libqxcb' in maps, 'libxcb-cursor' in maps)\n"
    )
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    completed = subprocess.run(
        [sys.executable, "-c", code, "summary", str(small), "-o", str(tmp_path), "--processes", "1"], cwd=ROOT,
        capture_output=True, text=True, check=False, env={**environment, "QT_QPA_PLATFORM": "xcb"},
    )  # fmt: skip
    assert completed.stdout.splitlines()[-1:] == ["0 True False False"], completed.stderr


def test_importing_opencv_keeps_the_environment() -> None:
    code = (
        "import os\nbefore = dict(os.environ)\nfrom viewer.export.encoding import import_opencv\n"
        "import_opencv()\nassert dict(os.environ) == before\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_shows_options_and_examples_of_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.create_parser().parse_args(["-h"])
    printed = capsys.readouterr().out
    assert "pi0-export KIND -h lists the options of a kind" in printed
    examples = [line.split()[1:] for line in printed.splitlines() if line.startswith("  pi0-export ")]
    assert len(examples) == 4
    for words in examples:
        assert cli.parse_arguments(words).kind == words[0]
