"""What is left of a results file when the process dies or the disk fails, at any of its calls to the system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT, SUPPORT

STRIDE = int(os.environ.get("PI0_BROKEN_DISK_STRIDE", "3"))
"""Calls from one failure to the next: 1 takes each of them, in two minutes."""


@pytest.fixture(scope="session")
def broken_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        pytest.skip("killing a run at each of its writes needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("disk") / "broken_disk.so"
    source = SUPPORT / "broken_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def outcomes(disk: Path, folder: Path, mode: str, stride: int) -> list[dict[str, Any]]:
    """What happened at every `stride`-th call on a disk that fails in this way."""
    command = [sys.executable, str(SUPPORT / "broken_disk.py"), str(folder), mode, str(stride)]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "LD_PRELOAD": str(disk), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def check_survival(outcome: dict[str, Any]) -> None:
    """Every frame that the writer held for finished can be read and is right; no reader crashed or hung."""
    assert outcome["reader_code"] == 0, outcome
    left = [outcome[name] for name in ("final", "partial") if name in outcome]
    for file in left:
        if "unreadable" in file:
            assert outcome["reported_frames"] == 0, outcome
        else:
            assert file["wrong"] == [], outcome
            assert file["done"] >= outcome["reported_frames"], outcome
    assert left or outcome["reported_frames"] == 0, outcome
    resumed = outcome["resumed"]  # the same run once more, on a good disk
    assert (resumed["code"], resumed["reader_code"]) == (0, 0), outcome
    assert resumed["written"] <= 2 - outcome["reported_frames"], outcome  # no finished frame is computed a second time
    assert resumed["final"] == {"done": 2, "wrong": [], "complete": True}, outcome
    if "final" in outcome:  # only a whole file bears the final name
        assert outcome["final"]["complete"], outcome
        assert outcome["final"]["done"] == 2, outcome


def test_killing_a_run_before_any_write_loses_no_finished_frame(broken_disk: Path, tmp_path: Path) -> None:
    killed = outcomes(broken_disk, tmp_path, "k", STRIDE)
    assert len(killed) > 250 // STRIDE
    for outcome in killed:
        assert outcome["code"] == -9, outcome
        check_survival(outcome)
    assert {outcome["reported_frames"] for outcome in killed} == {0, 1, 2}


@pytest.mark.parametrize(("mode", "stride"), [("r", STRIDE), ("s", 2 * STRIDE)])
def test_killing_a_resumed_run_loses_no_finished_frame(
    broken_disk: Path, tmp_path: Path, mode: str, stride: int
) -> None:
    killed = outcomes(broken_disk, tmp_path, mode, stride)
    assert sum(outcome["code"] == -9 for outcome in killed) >= 100 // stride
    for outcome in killed:
        assert outcome["code"] in (0, -9), outcome
        assert outcome["final" if outcome["code"] == 0 else "resumed"], outcome
        assert outcome.get("partial", {}).get("done", 1) >= 1, outcome
        check_survival(outcome | {"reported_frames": 1 + outcome["reported_frames"]})


def test_killing_a_run_during_a_write_loses_no_finished_frame(broken_disk: Path, tmp_path: Path) -> None:
    for outcome in outcomes(broken_disk, tmp_path, "t", 4 * STRIDE):
        assert outcome["code"] == -9, outcome
        check_survival(outcome)


@pytest.mark.parametrize("mode", ["f", "w"])
def test_failing_disk_is_reported_in_one_sentence_without_a_crash(broken_disk: Path, tmp_path: Path, mode: str) -> None:
    failed = outcomes(broken_disk, tmp_path, mode, 4 * STRIDE)
    for outcome in failed:
        assert outcome["code"] in (0, 2), outcome  # 0: the file was whole, only the old name did not go
        if outcome["code"] == 2:
            assert "no space left on device" in outcome["message"].lower(), outcome
        check_survival(outcome)
    assert sum(outcome["code"] == 2 for outcome in failed) >= len(failed) - 1
