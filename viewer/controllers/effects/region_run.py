"""Measure the effect of a region now: `pi0-capture effects` in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QObject, Signal

from capture.results.effects_schema import SUFFIX
from viewer.controllers.child_command import ChildCommand, parse_progress
from viewer.io.effects_names import find_numbered_path

if TYPE_CHECKING:
    from viewer.io.results import Results
    from viewer.model.view_state import Cell

KILL_MILLISECONDS: Final = 3000
"""Time that a cancelled process has to end by itself."""
MOST_CHARACTERS: Final = 300
"""Of an error message of the process."""
REGIONS_FILE: Final = "regions.json"


class RemovalMethod(NamedTuple):
    """A way to take a region away."""

    title: str
    """In a menu."""
    options: tuple[str, ...]
    """Of `pi0-capture effects`."""


REMOVAL_METHODS: Final = {
    "all": RemovalMethod("hidden from words, patches and actions", ("--from", "all")),
    "actions": RemovalMethod("hidden from the actions", ("--from", "actions")),
    "occlude": RemovalMethod("covered in the picture", ("--mode", "occlude")),
}
"""Ways to take a region away, by the names that settings have for them."""


class RegionRequest(NamedTuple):
    """A region of a frame whose effect is to be measured."""

    results: Results
    frame: int
    region: tuple[Cell, ...]
    removal: str = "all"
    """A key of REMOVAL_METHODS."""

    @property
    def boxes(self) -> tuple[str, ...]:
        """The region as boxes of patches."""
        from viewer.analysis.region_boxes import find_boxes  # imported late: it delays the first picture

        return tuple(map(str, find_boxes(self.results, self.region)))

    def arguments(self, regions: str) -> list[str]:
        """Return the options that name frame and region; `regions` is the path of a file for one of several boxes."""
        boxes = self.boxes
        named = ["--region", boxes[0]] if len(boxes) == 1 else ["--regions", regions]
        return ["--frames", str(self.frame), *named, *REMOVAL_METHODS[self.removal].options]

    @property
    def regions_json(self) -> str:
        """The content of the file of regions."""
        return json.dumps({" ".join(self.boxes)[:200]: self.boxes})


def find_unavailable_reason(results: Results, checkpoint: str) -> str:
    """Return why an effect cannot be measured on this machine; empty if it can.

    `checkpoint` is the folder of the file's policy; empty if none is known.
    """
    if not isinstance(results.path, Path):
        return "the file lies on another machine"
    if results.growing:
        return "the recording is not complete"
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return "PyTorch is not installed here"
    if results.model.get("kind") != "demo" and not checkpoint:
        return "the policy’s checkpoint is not known here"
    return ""


def write_command(request: RegionRequest, checkpoint: str = "") -> str:
    """Return the shell command that measures the region on another machine, with a placeholder for the checkpoint."""
    path = request.results.path
    policy = [] if request.results.model.get("kind") == "demo" else ["--checkpoint", checkpoint or "CHECKPOINT"]
    name = find_numbered_path(path).name if isinstance(path, Path) else f"{Path(path.name).stem}.1{SUFFIX}"
    command = ["pi0-capture", "effects", path.name, *policy, *request.arguments(REGIONS_FILE), "-o", name]
    before = f"echo {shlex.quote(request.regions_json)} > {REGIONS_FILE} && " if len(request.boxes) > 1 else ""
    return before + shlex.join(command)


class RegionRun(QObject):
    """Runs at most one measurement at a time; its result is a new file that replaces none."""

    changed = Signal()
    """The measurement has begun, gone on or ended."""
    measured = Signal(object, object)
    """A measurement has ended well: its RegionRequest and the Path of the effects file."""
    failed = Signal(str)
    """A measurement has failed: why, as a sentence."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.request: RegionRequest | None = None
        """What is being measured; None if nothing is."""
        self.stage = ""
        """What the process does before it measures."""
        self.progress = 0, 0
        """Calls of the policy that were run, and all of them; 0 before the first."""
        self._command = ChildCommand(self)
        self._command.line_read.connect(self._read_progress)
        self._command.errors_read.connect(self._read_stage)
        self._command.ended.connect(self._finish)
        self._folder: Path | None = None
        self._folder_of_result: Path | None = None
        self._is_cancelled = False

    @property
    def is_running(self) -> bool:
        """Whether something is being measured."""
        return self._command.is_running

    def start(self, request: RegionRequest, checkpoint: str, folder: Path) -> None:
        """Measure a region; nothing happens while something is being measured.

        Args:
            request: Frame and region.
            checkpoint: Folder of the file's policy; empty for the demo's.
            folder: Where the effects file is put.
        """
        path = request.results.path
        if self._command.is_running or not isinstance(path, Path):
            return
        self._folder, self._folder_of_result = Path(tempfile.mkdtemp(prefix="pi0-effects-")), folder
        regions = self._folder / REGIONS_FILE
        regions.write_text(request.regions_json, encoding="utf-8")
        policy = ["--checkpoint", checkpoint] if checkpoint else []
        arguments = [*policy, *request.arguments(str(regions)), "--progress-lines", "-o", str(self._output_path)]
        is_small = request.results.model.get("kind") == "demo"  # too small for more than one thread
        self.request, self.stage, self.progress = request, "starting", (0, 0)
        self._is_cancelled = False
        self._command.start(
            "capture", "effects", str(path.absolute()), *arguments, folder=self._folder, is_single_threaded=is_small
        )
        self.changed.emit()

    @property
    def _output_path(self) -> Path:
        assert self._folder is not None
        return self._folder / f"result{SUFFIX}"

    def _read_progress(self, line: str) -> None:
        self.progress = parse_progress(line) or self.progress
        self.changed.emit()

    def _read_stage(self) -> None:
        self.stage = self._command.errors[-1].strip()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop measuring; the process is killed if it does not end by itself."""
        if self._command.is_running:
            self._is_cancelled = True
            self.stage = "stopping"
            self._command.stop()
            self.changed.emit()

    def _finish(self, code: int) -> None:
        request, self.request = self.request, None
        if request is not None and code == 0 and not self._is_cancelled:
            try:
                path = self._keep(request)
            except OSError as error:
                self.failed.emit(f"The effects cannot be kept ({error.strerror or error}).")
            else:
                self.measured.emit(request, path)
        elif not self._is_cancelled:
            reason = self._command.find_reason("pi0-capture", code)
            self.failed.emit(f"The effect was not measured: {reason.rstrip('.')}.")
        self._remove_folder()
        self.changed.emit()

    def _keep(self, request: RegionRequest) -> Path:
        """Put the result beside the results file under a name that is free."""
        assert self._folder_of_result is not None
        self._folder_of_result.mkdir(parents=True, exist_ok=True)
        content = self._output_path.read_bytes()
        while True:
            path = find_numbered_path(self._folder_of_result / request.results.path.name)
            try:
                with path.open("xb") as stream:
                    stream.write(content)
            except FileExistsError:
                continue  # another window has taken the name meanwhile
            return path

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def stop(self) -> None:
        """End the process at once, before the window ends."""
        self._command.end()
        self._remove_folder()
