"""Damaged results files through everything that opens one: the probe, `pi0-capture info`, pi0-export and the window.

    python tests/fuzz/damaged_files.py --count 1000 --seed 1 --keep /tmp/found

prints one line of JSON a target: files, how many opened, got a sentence, or were ended by the probe's own limits, and
what must not be: hangs (a step above CPU_LIMIT or CLOCK_LIMIT), crashes and uncaught errors of the target; `slowest` in
processor seconds of a step, and `memory` in MB. Files that did something of that kind are kept. As in the program, info, export and the window get the same files; the last
two open only what the probe has passed. The seed decides every damage.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent)]

import make_results
import numpy as np

from capture.results import superblock

CPU_LIMIT: Final = 2.0
"""Processor seconds of one step of a target, which an intact file needs a tenth of."""
CLOCK_LIMIT: Final = 60.0
"""Seconds of the clock for one step: far more on a busy machine, so that only a process that sleeps reaches it."""
START_SECONDS: Final = 60.0
"""Time for a target to start."""
TARGETS: Final = ("probe", "info", "export", "window")
METADATA: Final = (b"OHDR", b"OCHK", b"FADB", b"FAHD", b"FRHP", b"FHDB", b"BTHD", b"BTLF", b"TREE", b"SNOD", b"HEAP")
"""Signatures of HDF5's metadata."""


# Files


def write_sources(folder: Path) -> list[bytes]:
    """Return results files in every state: complete, of a killed run, closed early, and compressed by nothing."""
    small = make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    whole = make_results.write(folder / "whole.h5", small).read_bytes()
    early = make_results.Recipe(frames=3, layers=2, heads=2, steps=2, horizon=3, size=(36, 64), done=2, complete=False)
    part = make_results.write(folder / "part.h5", early).read_bytes()
    return [whole, part, with_flags(part, 5), with_flags(part, superblock.WRITER)]


def with_flags(content: bytes, flags: int) -> bytes:
    """Return the file as a writer leaves it that is killed while these flags are set."""
    block = bytearray(content[: superblock.LENGTH])
    block[11] = flags
    block[-4:] = superblock.checksum(bytes(block[:-4])).to_bytes(4, "little")
    return bytes(block) + content[superblock.LENGTH :]


def damage(source: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with one random damage."""
    data = bytearray(source)
    at = int(rng.integers(len(data)))
    kind = int(rng.integers(9))
    if kind == 0:  # single bytes anywhere
        for place in rng.integers(len(data), size=int(rng.integers(1, 40))):
            data[place] ^= int(rng.integers(1, 256))
    elif kind == 1:  # single bytes of the first metadata
        for place in rng.integers(min(4096, len(data)), size=int(rng.integers(1, 10))):
            data[place] ^= int(rng.integers(1, 256))
    elif kind in (2, 3):  # single bytes in a block of metadata, at times with its checksum made right
        places = [
            place for place in range(len(data) - 8) if data[place] in b"OFBTSH" and data[place : place + 4] in METADATA
        ]
        place = places[int(rng.integers(len(places)))] + int(rng.integers(4, 200))
        data[min(place, len(data) - 1)] ^= 1 << int(rng.integers(8))
    elif kind == 4:  # pages that did not reach the disk
        page = at // 4096 * 4096
        data[page : page + 4096 * int(rng.integers(1, 10))] = b""
        data[page:page] = bytes(len(source) - len(data))
    elif kind == 5:  # a torn copy
        del data[max(at, 1) :]
    elif kind == 6:  # two places exchanged
        other = int(rng.integers(len(data)))
        data[at : at + 64], data[other : other + 64] = data[other : other + 64], data[at : at + 64]
    elif kind == 7:  # a part twice
        data[at:at] = data[max(0, at - 200) : at]
    else:  # superblock with another end, root or flags, and a right checksum
        block = bytearray(data[: superblock.LENGTH])
        block[int(rng.integers(11, 44))] ^= 1 << int(rng.integers(8))
        block[-4:] = superblock.checksum(bytes(block[:-4])).to_bytes(4, "little")
        data[: superblock.LENGTH] = block
    return bytes(data)


# Targets: each is this program in another process, which answers a path with a word


def serve(target: str) -> None:
    """Answer each path on standard input with `opened`, `refused`, or `uncaught` and an error."""
    answer = {"info": open_info, "export": open_export, "window": WindowDriver}[target]
    if target == "window":
        answer = answer()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(Path(json.loads(line)))), flush=True)


def note_step() -> None:
    """Say that a step has ended."""
    sys.__stdout__.write("\n")
    sys.__stdout__.flush()


def open_info(path: Path) -> str:
    """Describe the file as `pi0-capture info` does."""
    from capture.cli.info import describe
    from capture.errors import UserError

    try:
        describe(path)
    except UserError:
        return "refused"
    return "opened"


def open_export(path: Path) -> str:
    """Write a figure and a table as pi0-export does."""
    from viewer.export.__main__ import main

    folder = path.with_suffix(".out")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    try:
        codes = []
        for kind, words in EXPORTS:
            codes.append(main([kind, str(path), "-o", str(folder), *words]))
            note_step()
    except Exception as error:
        return f"uncaught {type(error).__name__}: {error}"
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        shutil.rmtree(folder, ignore_errors=True)
    return "opened" if 0 in codes else "refused" if set(codes) == {2} else f"uncaught exit codes {codes}"


COMMANDS: Final = (
    "max",
    "film",
    "curve",
    "score",
    "actions",
    "norms",
    "uniform",
    "pin",
    "right",
    "difference",
    "unpin",
    "all",
    "copy",
)
EXPORTS: Final = (("summary", ["--frames", "0"]), ("table", ["--frames", "0"]))


class WindowDriver:
    """A real window that opens one file after another, and goes through its frames and axes."""

    def __init__(self) -> None:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()
        from PySide6.QtWidgets import QApplication

        from viewer.controllers.settings import Settings
        from viewer.widgets.main_window import MainWindow

        self.app = QApplication([])
        self.errors: list[str] = []
        sys.excepthook = lambda kind, error, _trace: self.errors.append(f"{kind.__name__}: {error}")
        settings = Settings(Path(tempfile.mkdtemp()) / "settings.ini")
        settings.set_text("toured", "yes")
        self.window = MainWindow(settings)
        self.window.resize(1280, 800)
        self.window.show()
        self.said: list[str] = []
        self.window.session.noticed.connect(self.said.append)

    def __call__(self, path: Path) -> str:
        """Open the file, look at every frame, layer, step and head, grab the window and copy its picture."""
        from PySide6.QtCore import QCoreApplication, QEvent
        from window_driver import spin

        from viewer.errors import UserError
        from viewer.io.results import Results
        from viewer.widgets.view_picture import render_view

        window, session = self.window, self.window.session
        self.errors.clear()
        self.said.clear()
        try:
            results = Results(path)
        except UserError:
            return "refused"
        window.show_results(results, False)
        dims = session.dims
        for frame in range(min(dims.frames, 3)):
            for layer in range(2):
                session.update(frame=frame, layer=layer, step=layer)
                spin(0.0)
                window.grab()
                note_step()
        for command in COMMANDS:
            window.perform_id(command)
            spin(0.0)
            note_step()
        spin(0.02)
        session.follow()
        window.grab()
        render_view(window.panels)
        spin(0.0)
        session.open(None)
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # only a running event loop sends them
        failed = [one for one in self.said if "cannot be drawn" in one]
        return f"uncaught {(self.errors + failed)[0]}" if self.errors or failed else "opened"


# The driver


class Child:
    """One target in another process."""

    def __init__(self, target: str) -> None:
        self.target = target
        if target == "probe":
            command = [sys.executable, "-P", "-m", "viewer.analysis.probe"]
        else:
            command = [sys.executable, str(Path(__file__).resolve()), "--serve", target]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=TESTS.parent,
            env=os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"},
        )
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        self.is_started = target != "probe" and self.lines.get(timeout=START_SECONDS) == b"ready\n"

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self.lines.put(line)
        self.lines.put(b"")

    def open(self, path: Path) -> tuple[str, float]:
        """Return the answer, `hang` or `crash`, and the processor seconds of its slowest step."""
        from capture.results.progress_clock import ProgressClock

        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return f"crash {self.process.wait()} after the last file", 0.0
        clock = ProgressClock(self.process.pid, is_started=self.is_started)
        begin, cpu, slowest = time.monotonic(), self.cpu_seconds(), 0.0
        while True:
            try:
                line = self.lines.get(timeout=0.02)
            except queue.Empty:
                if self.target == "probe" and clock.is_over:  # as the program does
                    return "ended", slowest
                used = self.cpu_seconds() - cpu
                patience = 1 if self.is_started else START_SECONDS
                if time.monotonic() - begin > CLOCK_LIMIT * patience or used > CPU_LIMIT * patience:
                    return "hang", max(used, slowest)
                continue
            clock.note_progress()
            used, cpu, begin = self.cpu_seconds() - cpu, self.cpu_seconds(), time.monotonic()
            slowest = max(slowest, used if self.is_started else 0.0)
            self.is_started = True
            if line == b"\n":
                continue
            if not line:
                return "ended" if self.target == "probe" else f"crash {self.process.wait()}", slowest
            answer = json.loads(line)
            return ("refused" if answer["error"] else "opened") if isinstance(answer, dict) else answer, slowest

    def cpu_seconds(self) -> float:
        """Return the processor time of the process and of its children that have ended."""
        try:
            times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        except OSError:
            return 0.0
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Return the most memory that the process has had; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            return 0.0

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def run(
    count: int, seed: int, targets: tuple[str, ...] = TARGETS, keep: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Send `count` damaged files through the targets; return a tally for each."""
    rng = np.random.default_rng(seed)
    names = ("files", "opened", "refused", "ended", "hangs", "crashes", "uncaught")
    tallies: dict[str, dict[str, Any]] = {
        target: dict.fromkeys(names, 0) | {"slowest": 0.0, "memory": 0.0} for target in targets
    }
    children = {target: Child(target) for target in targets}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_sources(folder)
        for number in range(count):
            source = sources[int(rng.integers(len(sources)))]
            path = folder / f"damaged{number}.h5{'.partial' if source is not sources[0] else ''}"
            path.write_bytes(damage(source, rng))
            is_intact = True
            for target in targets:
                if target in ("export", "window") and not is_intact:
                    continue
                answer, taken = children[target].open(path)
                what = answer.split(maxsplit=1)[0]
                tally = tallies[target]
                tally["files"] += 1
                tally["slowest"] = round(max(tally["slowest"], taken), 2)
                tally["memory"] = round(max(tally["memory"], children[target].megabytes()))
                tally[{"hang": "hangs", "crash": "crashes"}.get(what, what)] += 1
                if target == "probe":
                    is_intact = what == "opened"
                if what in ("hang", "crash", "uncaught") and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{target}-{what}-{path.name}")
                    print(f"{target}: {answer[:300]} ({path.name}, {taken:.1f} s)", file=sys.stderr, flush=True)
                if what in ("hang", "crash", "ended"):
                    children[target].stop()
                    children[target] = Child(target)
            path.unlink()
    for child in children.values():
        child.stop()
    return tallies


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--keep", type=Path, help="folder for files that did what must not be")
    parser.add_argument("--serve", choices=TARGETS[1:], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    for target, tally in run(arguments.count, arguments.seed, tuple(arguments.targets), arguments.keep).items():
        print(json.dumps({"target": target, **tally}))


if __name__ == "__main__":
    main()
