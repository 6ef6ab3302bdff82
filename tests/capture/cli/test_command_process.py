"""pi0-capture as a process: signals, terminals, pipes and missing packages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from paths import ROOT
from preloaded import PreloadedProcess

from capture.__main__ import main
from capture.results import schema


def start_command(*arguments: str) -> PreloadedProcess:
    return PreloadedProcess(["-m", "capture", *arguments], ROOT)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_finished_frames(command, tmp_path, kind):
    output = tmp_path / "stopped.h5"
    partial = tmp_path / "stopped.h5.partial"
    prompts = [word for number in range(400) for word in ("--prompt", f"pick up block {number}")]
    process = start_command(*command, *prompts, "-o", str(output))
    deadline = time.monotonic() + 120
    while not (partial.exists() and count_frames_done(partial) >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert str(partial) in err
    assert not output.exists()
    with h5py.File(partial) as file:
        done = int(file[schema.FRAMES_DONE][()])
        assert 2 <= done < 400
        assert not file.attrs["complete"]
        rows = file[schema.TEXT_MASS][:done].sum(-1)
        roles = file[schema.TEXT_ROLE][:done]
        valid = np.broadcast_to((roles != schema.ROLES.index("pad"))[:, None, :, None], rows.shape)
        np.testing.assert_allclose(rows[valid], 1, atol=1e-5)


def test_same_command_resumes_interrupted_run(command, tmp_path, capsys):
    output = tmp_path / "goes_on.h5"
    partial = tmp_path / "goes_on.h5.partial"
    options = [*command, *(word for number in range(60) for word in ("--prompt", f"pick up block {number}"))]
    process = start_command(*options, "-o", str(output))
    deadline = time.monotonic() + 120
    while not (partial.exists() and count_frames_done(partial) >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == ""
    finished_before = count_frames_done(partial)
    assert finished_before >= 3
    assert main([*options, "--seed", "1", "-o", str(output)]) == 2
    assert "was begun by another run, and is left as it is: --seed was 0 and is now 1" in capsys.readouterr().err
    assert main([*options, "-o", str(output)]) == 0
    assert f"{partial} has {finished_before} of 60 frames; it is gone on with" in capsys.readouterr().err
    with h5py.File(output) as file:
        prompts = file[schema.FRAMES_PROMPT].asstr()[...].tolist()
        assert prompts == [f"pick up block {number}" for number in range(60)]
        assert json.loads(file.attrs["checks"])[schema.CHECK_SINCE] == finished_before
    assert main([*options, "-o", str(output)]) == 0
    assert "is finished already" in capsys.readouterr().err


def count_frames_done(path: Path) -> int:
    try:
        with h5py.File(path, "r", swmr=True) as file:
            return int(file[schema.FRAMES_DONE][()])
    except OSError:
        return 0


def test_log_file_gets_one_line_per_stage_without_a_bar(command, checkpoint, tmp_path):
    process = start_command(*command, "--prompt", "go", "-o", str(tmp_path / "log.h5"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    first, second, third, *assumed, fourth, fifth = err.splitlines()
    assert assumed
    assert all(line.startswith("pi0-capture: assumed ") for line in assumed)
    assert (first, second) == ("pi0-capture: loading PyTorch", "pi0-capture: loading transformers")
    assert third == f"pi0-capture: opening checkpoint {checkpoint}"
    assert re.fullmatch(r"pi0-capture: loading \d+ kB of weights", fourth)
    assert fifth == "pi0-capture: capturing 1 frame"
    assert out.startswith(f"{tmp_path / 'log.h5'}: 1 frame of pi05_small in ")
    assert out.endswith(f"\nnext  pi0-viewer {tmp_path / 'log.h5'}\n")


def test_install_without_extras_names_the_missing_extra(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from capture.__main__ import main; sys.exit(main(sys.argv[1:]))"
    completed = subprocess.run(
        [sys.executable, "-c", code, "--demo", "-o", str(tmp_path / "x.h5")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 2
    assert completed.stderr == (
        "pi0-capture: loading PyTorch\n"
        "pi0-capture: the package torch is missing; run pip install 'pi0-attention[capture]'\n"
    )


def test_output_survives_ascii_terminal(command, checkpoint):
    process = subprocess.run(
        [sys.executable, "-m", "capture", *command, "--prompt", "go", "--dry-run"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert process.returncode == 0
    assert process.stderr == f"pi0-capture: loading PyTorch\npi0-capture: opening checkpoint {checkpoint}\n"
    assert "'\\u2581" in process.stdout  # the blank in front of a word, as the vocabulary writes it


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_closed_pipe_does_not_end_run(command, tmp_path, stream):
    """As under `| head` and `2>&1 | head`; the long prompt makes a warning, the first thing to be written."""
    output = tmp_path / "out.h5"
    long = "pick up the red block and " * 40
    read, write = os.pipe()
    os.close(read)
    try:
        arguments = ["-m", "capture", *command, "--prompt", long, "--layers", "0", "-o", str(output)]
        process = PreloadedProcess(arguments, ROOT, **{stream: write})
    finally:
        os.close(write)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Traceback" not in out + err
    assert "Exception ignored" not in err
    assert h5py.is_hdf5(output)
