"""The probe, which reads a file in another process: a torn file gets a sentence, whatever HDF5 does with it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from paths import ROOT

from capture.results import progress_clock, superblock
from viewer.analysis import probe as probes
from viewer.analysis.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

linux = pytest.mark.skipif(sys.platform != "linux", reason="only there the first probe is a fork")

WORKER = """
import sys, json
from pathlib import Path
from viewer.analysis.probe import check_file
for line in sys.stdin:
    print(json.dumps(check_file(Path(line.strip()))), flush=True)
"""


class ProbeProcess:
    """A process like the probe's that reads one file after another."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        self.ready = False

    def check(self, path: Path, seconds: float) -> str | None:
        """Return the sentence, or None if the process died. Raises TimeoutError if it took too long."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n".encode())
        self.process.stdin.flush()
        seconds += 0 if self.ready else 20  # its imports
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise TimeoutError
        self.ready = True
        line = self.process.stdout.readline()
        return str(json.loads(line)) if line else None

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def damage_copy(source: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy of the bytes with one random damage: flipped, zeroed, cut off, swapped or doubled."""
    data = bytearray(source)
    kind = int(rng.integers(6))
    offset = int(rng.integers(len(data)))
    if kind == 0:
        for position in rng.integers(len(data), size=int(rng.integers(1, 40))):
            data[position] ^= int(rng.integers(1, 256))
    elif kind == 1:
        for position in rng.integers(min(4096, len(data)), size=int(rng.integers(1, 10))):
            data[position] ^= int(rng.integers(1, 256))
    elif kind == 2:
        data[offset : offset + int(rng.integers(1, 5000))] = bytes(min(len(data) - offset, 100))
    elif kind == 3:
        del data[max(offset, 1) :]
    elif kind == 4:
        end = int(rng.integers(len(data)))
        data[offset : offset + 64], data[end : end + 64] = data[end : end + 64], data[offset : offset + 64]
    else:
        data[offset:offset] = data[max(0, offset - 200) : offset]
    return bytes(data)


def run_corpus(source: Path, folder: Path, count: int, seconds: float = 2.0) -> dict[str, int]:
    """Return how many damaged copies opened, got a sentence, crashed HDF5, or hung it for longer than `seconds`."""
    rng = np.random.default_rng(count)
    content, path = source.read_bytes(), folder / "damaged.h5"
    tally = {"opened": 0, "sentence": 0, "crashed": 0, "hung": 0}
    prober = ProbeProcess()
    for _ in range(count):
        path.write_bytes(damage_copy(content, rng))
        try:
            answer = prober.check(path, seconds)
        except TimeoutError:
            answer, outcome = None, "hung"
        else:
            outcome = "crashed" if answer is None else "sentence" if answer else "opened"
        assert answer is None or "\n" not in answer
        tally[outcome] += 1
        if answer is None:
            shutil.copy(path, folder / f"{outcome}{tally[outcome]}.h5")
            prober.stop()
            prober = ProbeProcess()
    prober.stop()
    return tally


def test_damaged_copies_open_or_get_a_sentence(tiny: Path, tmp_path: Path) -> None:
    tally = run_corpus(tiny, tmp_path, int(os.environ.get("PI0_DAMAGED", "300")))
    assert tally["opened"] > 0
    assert tally["sentence"] > 0
    # HDF5 itself may crash or hang on a torn file; that is why another process looks first (see below).
    assert tally["crashed"] + tally["hung"] <= sum(tally.values()) // 50
    for path in [*tmp_path.glob("hung*.h5"), *tmp_path.glob("crashed*.h5")]:
        assert Probe(path).wait(), "the window says a sentence, as HDF5 is ended before two seconds of work"


def test_endless_reading_is_ended(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def circles(*_: object) -> str:
        while True:
            sum(range(1000))

    monkeypatch.setattr(probes, "check_file", circles)
    monkeypatch.setattr(probes, "CPU_SECONDS", 0.1)
    if sys.platform == "win32":
        pytest.skip("the system has no timer of a process's work")
    assert "round in circles" in probes.ForkedProbe(tiny).wait()


def test_probe_reports_the_fault(tiny: Path, tmp_path: Path) -> None:
    assert Probe(tiny).wait() == ""
    (tmp_path / "x.h5").write_bytes(b"hello")
    assert "is not an HDF5 file" in Probe(tmp_path / "x.h5").wait()


def test_first_probe_is_forked(tiny: Path, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from viewer.analysis.probe import create_early_probe; p = create_early_probe(Path(sys.argv[1])); "
    script += "print(type(p).__name__, repr(p.wait()))"
    for path, words in ((tiny, "''"), (tmp_path / "none.h5", "There is no file")):
        command = [sys.executable, "-c", script, str(path)]
        out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        assert words in out.stdout
        assert ("ForkedProbe" in out.stdout) == (sys.platform == "linux")


def test_dead_or_hanging_probe_is_one_sentence(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.analysis.probe.sys.executable", shutil.which("false") or "/bin/false")
    assert "damaged so badly" in Probe(tiny).wait()
    monkeypatch.undo()
    monkeypatch.setattr(progress_clock, "LONGEST_SECONDS", 0.0)
    assert "took too long" in Probe(tiny).wait()


@linux
def test_probe_that_sleeps_is_ended_by_the_clock(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "check_file", lambda *_: time.sleep(60))
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 0.2)
    probe = probes.ForkedProbe(tiny)
    assert "took too long" in probe.wait()
    assert probe.poll() == probe.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(probe._pid, 0)


@linux
def test_slow_probe_with_progress_is_awaited(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(path: Path, note_progress: Callable[[], object], _: object) -> str:
        for _ in range(6):
            time.sleep(0.2)
            note_progress()
        return "seen"

    monkeypatch.setattr(probes, "check_file", check)
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 1.0)
    assert probes.ForkedProbe(tiny).wait() == "seen"
    monkeypatch.setattr(progress_clock, "LONGEST_SECONDS", 0.5)
    assert "took too long" in probes.ForkedProbe(tiny).wait()


@linux
def test_probe_reports_a_file_that_needs_much_memory(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_read_parts", lambda results, note_progress: bytes(2 << 30))
    assert "needs more than 1 GB" in probes.ForkedProbe(tiny).wait()


@pytest.mark.parametrize("flags", [0, superblock.WRITER, 5])
def test_torn_file_of_a_killed_writer_is_probed_without_a_wait(tiny: Path, tmp_path: Path, flags: int) -> None:
    """HDF5's SWMR mode sleeps for minutes on this file."""
    content = bytearray(tiny.read_bytes())
    content[4096:40_000] = bytes(40_000 - 4096)
    content[11] = flags
    content[44:48] = superblock.checksum(bytes(content[:44])).to_bytes(4, "little")
    path = tmp_path / "torn.h5.partial"
    path.write_bytes(content)
    assert "torn.h5.partial" in Probe(path).wait()
    assert probes.check_file(path), "in this process"
