"""Start of pi0-capture: order of imports, and interrupts meanwhile."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from preloaded import PreloadedProcess

from capture.__main__ import main
from capture.stop_request import check_stop


def test_command_module_imports_little():
    """A stop while modules load ends in Python's own traceback until `main` runs, so that is soon."""
    code = "import sys, capture.__main__; print([m for m in ('numpy', 'argparse', 'torch') if m in sys.modules])"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "[]\n"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_swallowed_by_other_code_still_stops(
    tmp_path: Path, monkeypatch, capsys, kind: signal.Signals
) -> None:
    def swallow(*_: object) -> None:  # as a destructor does that runs while torch and transformers load
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(kind)

    monkeypatch.setattr("capture.cli.validation.check_options", swallow)
    before = signal.getsignal(kind)
    assert main(["--demo", "-o", str(tmp_path / "a.h5")]) == 130
    assert signal.getsignal(kind) == before
    check_stop()  # forgotten: what the program does next is not stopped
    assert capsys.readouterr().err.splitlines()[-1] == "pi0-capture: stopped"
    assert not list(tmp_path.iterdir())


def test_signal_after_a_command_stops_nothing_that_the_program_runs_next(tmp_path: Path) -> None:
    assert main(["info", str(tmp_path / "missing.h5")]) == 2
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    check_stop()


def test_exit_at_once_runs_exit_handlers_and_writes_what_is_buffered() -> None:
    code = (
        "import atexit, sys; from capture.stop_request import exit_at_once\n"
        "atexit.register(print, 'cleaned')\n"
        "sys.stdout.write('written ')\n"
        "exit_at_once(130)"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (completed.returncode, completed.stdout, completed.stderr) == (130, "written cleaned\n", "")


def test_first_line_is_printed_before_numpy_and_torch_are_imported(tmp_path: Path) -> None:
    """They take seconds, and from a cold disk many; until then the user would see nothing."""
    code = (
        "import sys\n"
        "class ImportLog:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('numpy', 'torch', 'transformers'):\n"
        "            print(f'now {name}', file=sys.stderr, flush=True)\n"
        "        if name == 'transformers':\n"
        "            sys.exit('seen enough')\n"
        "sys.meta_path.insert(0, ImportLog())\n"
        "from capture.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "--demo", "--prompt", "go", "-o", str(tmp_path / "a.h5")]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.stderr.endswith("seen enough\n"), completed.stderr
    lines = [line for line in completed.stderr.splitlines() if line.startswith(("now", "pi0-capture: loading "))]
    lines = list(dict.fromkeys(lines))
    assert lines[0] == "pi0-capture: loading PyTorch"
    assert lines.index("now torch") < lines.index("pi0-capture: loading transformers") < lines.index("now transformers")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "stage", ["loading PyTorch", "loading transformers", "opening checkpoint demo", "loading 11.8 MB", "capturing 14"]
)
def test_interrupt_in_any_stage_ends_with_one_line_and_code_130(
    tmp_path: Path, stage: str, kind: signal.Signals
) -> None:
    arguments = ["-m", "capture", "--demo", "-o", str(tmp_path / "a.h5")]
    process: subprocess.Popen[str] | PreloadedProcess
    if stage in ("loading PyTorch", "loading transformers"):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, *arguments], text=True, cwd=ROOT, **pipes)
    else:
        process = PreloadedProcess(arguments, ROOT)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(f"pi0-capture: {stage}"):
            process.send_signal(kind)
            break
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, ""), err
    *stages, last = [*lines, *err.splitlines(keepends=True)]
    assert all(re.match("pi0-capture: (loading|opening|capturing) ", line) for line in stages), stages
    kept_pattern = "; [0-9]+ of 14 frames are kept in .*"
    assert re.fullmatch(f"pi0-capture: stopped({kept_pattern})?\n", last)


SIGNAL_AT_EACH_CALL = """
import signal, sys
import capture.__main__ as command

codes = set()
for position in range(40):
    remaining = [None]

    def count_down(frame, event, argument):
        if remaining[0] is not None and event in ("call", "return"):
            remaining[0] -= 1
            if remaining[0] < 0:
                remaining[0] = None
                signal.raise_signal(signal.SIGINT)

    def finish(words):
        remaining[0] = position
        {outcome}

    command._run_info, command.exit_at_once, sys.argv[1:] = finish, lambda code: None, ["info", "a.h5"]
    sys.setprofile(count_down)
    code = command.main()
    sys.setprofile(None)
    codes.add(code)
print(sorted(codes))
"""


@pytest.mark.parametrize(
    ("outcome", "codes"), [("return 0", [0, 130]), ("raise command.UserError('no file')", [2, 130])]
)
def test_signal_at_any_call_after_the_work_prints_no_traceback(outcome: str, codes: list[int]) -> None:
    script = SIGNAL_AT_EACH_CALL.format(outcome=outcome)
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (completed.returncode, completed.stdout) == (0, f"{codes}\n"), completed.stderr
    assert set(completed.stderr.splitlines()) <= {"pi0-capture: stopped", "pi0-capture: no file"}


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_after_the_last_line_prints_no_traceback(tmp_path: Path, kind: signal.Signals) -> None:
    options = ["--demo", "--layers", "3", "--steps", "9", "-o", str(tmp_path / "a.h5")]
    process = PreloadedProcess(["-m", "capture", *options], ROOT)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("next  "):
            process.send_signal(kind)
            break
    _, err = process.communicate(timeout=120)
    *_, capturing = [line for line in err.splitlines() if line != "pi0-capture: stopped"]
    assert capturing == "pi0-capture: capturing 14 frames", err
    assert process.returncode == (130 if err.endswith("stopped\n") else 0), err
    assert (tmp_path / "a.h5").exists()


def test_missing_state_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from capture.__main__ import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "--checkpoint", str(ROOT / "resources" / "demo"), "--exterior", "e.png"]
    completed = subprocess.run(
        [*command, "--prompt", "go", "-o", str(tmp_path / "a.h5")], capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stdout) == (2, "False\n")
    assert completed.stderr.startswith("pi0-capture: no state was given, and this policy reads the robot's state")
    assert len(completed.stderr.splitlines()) == 1


def test_a_stop_in_code_that_c_runs_ends_with_130_too(tmp_path: Path) -> None:
    """CPython takes it for unhandled, and would end `python -m` by SIGINT."""
    code = (
        "import ctypes, sys\n"
        "import capture.cli.validation\n"
        "from capture.__main__ import main\n"
        "run = ctypes.pythonapi.PyRun_String\n"
        "run.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]\n"
        "run.restype = ctypes.py_object\n"
        "stop = b'import signal; signal.raise_signal(signal.SIGINT)'\n"
        "capture.cli.validation.check_options = lambda *_: run(stop, 257, {}, {})\n"
        "sys.exit(main())"
    )
    (tmp_path / "stopped.py").write_text(code)
    command = [sys.executable, "-m", "stopped", "--demo", "-o", str(tmp_path / "a.h5")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (130, "pi0-capture: stopped\n")
