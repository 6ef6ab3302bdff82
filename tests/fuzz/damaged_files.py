"""Damaged results files through everything that opens one: the probe, `pi0-capture info`, pi0-export and the window.

    python tests/fuzz/damaged_files.py --count 1000 --seed 1 --keep /tmp/found

prints one line of JSON a target: files, how many opened, got a sentence, or were ended by the probe's own limits, and
what must not be: hangs (a step above CPU_LIMIT or CLOCK_LIMIT), crashes and uncaught errors of the target; `slowest` in
processor seconds of a step, and `memory` in MB. Files that did something of that kind are kept. As in the program,
export and the window open only what the probe has passed. The seed decides every damage.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent)]

import make_results
import numpy as np
from damage import damage
from target_process import TargetProcess

from capture.results import superblock

TARGETS: Final = ("probe", "info", "export", "window")


# Files


def write_sources(folder: Path) -> list[bytes]:
    """Return results files in every state: complete, of a killed run, closed early, and compressed by nothing."""
    small = make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    intact = make_results.write(folder / "whole.h5", small).read_bytes()
    early = make_results.Recipe(frames=3, layers=2, heads=2, steps=2, horizon=3, size=(36, 64), done=2, complete=False)
    part = make_results.write(folder / "part.h5", early).read_bytes()
    return [intact, part, with_flags(part, 5), with_flags(part, superblock.WRITER)]


def write_sources_without_maps(folder: Path) -> list[bytes]:
    """Return results files of captures that keep summaries alone, or the maps of every third frame; with regions."""
    from captured_regions import capture, draw_regions

    from capture.datasets.regions.region_files import RegionFiles

    capture(folder / "maps.h5")
    regions = RegionFiles(draw_regions(folder / "maps.regions.h5", folder / "maps.h5"))
    files = []
    for name, every in (("summaries.h5", 0), ("some.h5", 3)):
        capture(folder / name, maps_every=every, regions=regions)
        files.append((folder / name).read_bytes())
    return files


def with_flags(content: bytes, flags: int) -> bytes:
    """Return the file as a writer leaves it that is killed while these flags are set."""
    block = bytearray(content[: superblock.LENGTH])
    block[11] = flags
    block[-4:] = superblock.checksum(bytes(block[:-4])).to_bytes(4, "little")
    return bytes(block) + content[superblock.LENGTH :]


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
    from capture.cli.info.describe import describe
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
        self.messages: list[str] = []
        self.window.session.noticed.connect(self.messages.append)

    def __call__(self, path: Path) -> str:
        """Open the file, look at every frame, layer, step and head, grab the window and copy its picture."""
        from PySide6.QtCore import QCoreApplication, QEvent
        from window_driver import spin

        from viewer.errors import UserError
        from viewer.io.results import Results
        from viewer.widgets.view_picture import render_view

        window, session = self.window, self.window.session
        self.errors.clear()
        self.messages.clear()
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
        failed = [message for message in self.messages if "cannot be drawn" in message]
        return f"uncaught {(self.errors + failed)[0]}" if self.errors or failed else "opened"


# The driver


def start_target(target: str) -> TargetProcess:
    """Start the process of a target."""
    if target == "probe":
        return TargetProcess([sys.executable, "-P", "-m", "viewer.analysis.probe"], is_watched=True)
    return TargetProcess([sys.executable, str(Path(__file__).resolve()), "--serve", target])


def run(
    count: int,
    seed: int,
    targets: tuple[str, ...] = TARGETS,
    keep: Path | None = None,
    *,
    has_maps: bool = True,
) -> dict[str, dict[str, Any]]:
    """Send `count` damaged files through the targets; return a tally for each."""
    rng = np.random.default_rng(seed)
    names = ("files", "opened", "refused", "ended", "hangs", "crashes", "uncaught")
    tallies: dict[str, dict[str, Any]] = {
        target: dict.fromkeys(names, 0) | {"slowest": 0.0, "memory": 0.0} for target in targets
    }
    children = {target: start_target(target) for target in targets}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_sources(folder) if has_maps else write_sources_without_maps(folder)
        for number in range(count):
            source = sources[int(rng.integers(len(sources)))]
            is_partial = has_maps and source is not sources[0]
            path = folder / f"damaged{number}.h5{'.partial' * is_partial}"
            path.write_bytes(damage(source, rng))
            is_intact = True
            for target in targets:
                if target in ("export", "window") and not is_intact:
                    continue
                answer, seconds = children[target].open(path)
                outcome = answer.split(maxsplit=1)[0]
                tally = tallies[target]
                tally["files"] += 1
                tally["slowest"] = round(max(tally["slowest"], seconds), 2)
                tally["memory"] = round(max(tally["memory"], children[target].megabytes()))
                tally[{"hang": "hangs", "crash": "crashes"}.get(outcome, outcome)] += 1
                if target == "probe":
                    is_intact = outcome == "opened"
                if outcome in ("hang", "crash", "uncaught") and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{target}-{outcome}-{path.name}")
                    print(f"{target}: {answer[:300]} ({path.name}, {seconds:.1f} s)", file=sys.stderr, flush=True)
                if outcome in ("hang", "crash", "ended"):
                    children[target].stop()
                    children[target] = start_target(target)
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
    parser.add_argument("--no-maps", action="store_false", dest="has_maps", help="files of `--keep summaries`")
    parser.add_argument("--keep", type=Path, help="folder for files that did what must not be")
    parser.add_argument("--serve", choices=TARGETS[1:], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    tallies = run(
        arguments.count, arguments.seed, tuple(arguments.targets), arguments.keep, has_maps=arguments.has_maps
    )
    for target, tally in tallies.items():
        print(json.dumps({"target": target, **tally}))


if __name__ == "__main__":
    main()
