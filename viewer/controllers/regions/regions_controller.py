"""Find, read, watch and change the regions file of the open results file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer, Signal

from capture.results import schema
from viewer.controllers.files import file_dialogs
from viewer.controllers.regions.regions_process import RegionsJob, RegionsProcess
from viewer.errors import UserError, split_library_words
from viewer.io.demo_files import is_demo_file
from viewer.regions.file_versions import check_writable, default_path, read_stamp
from viewer.regions.region_name import check_name

if TYPE_CHECKING:
    from viewer.analysis.regions.regions_reading import RegionsReading
    from viewer.controllers.regions.region_edit import RegionEdit
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings
    from viewer.io.results import Results
    from viewer.model.view_state import Cell, ViewState
    from viewer.regions.file_versions import Stamp

POLL_MILLISECONDS: Final = 15
DELAY_MILLISECONDS: Final = 40
"""Delay before the regions are read, so that this does not compete with painting a file's first picture."""
WATCH_MILLISECONDS: Final = 1000
"""Interval of the checks whether another program has changed the file."""
ELSEWHERE: Final = (
    "This file lies on another machine, so its regions are not read here. Run pi0-regions there, or copy the file."
)


class RegionsController(QObject):
    """Reads the regions of the open file in another process, and again whenever their file has changed.

    Changes are made by `pi0-regions` in a further process, and are steps of the window's undo.
    """

    changed = Signal()
    """What is known of the regions, or `problem`, has changed."""

    def __init__(self, session: Session, settings: Settings, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.settings = session, settings
        self.process = RegionsProcess(self.check_for_changes, self)
        """Makes the changes."""
        self.process.done.connect(self._on_done)
        self.process.failed.connect(session.noticed)
        self._done: list[tuple[RegionsJob, RegionEdit]] = []
        """Changes that were made, and not read yet."""
        self._marked: tuple[Cell, ...] = ()
        """The patches of the view's region when tracking was asked for."""
        self._last_name = ""
        self.path: Path | None = None
        """Where the regions of the open file are kept, whether there are some or not; None without a local file."""
        self.problem = ""
        """Why the regions cannot be shown, as a sentence; empty if they can, or if there are none."""
        self._results: Results | None = None
        self._stamp: Stamp | None = None
        """Of the regions file that was read last, or is being read; None for no file."""
        self._reading: RegionsReading | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.timeout.connect(self._poll)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MILLISECONDS)
        self._watch.timeout.connect(self.check_for_changes)
        session.opened.connect(self._on_opened)
        session.changed.connect(self._on_view_changed)

    @property
    def is_reading(self) -> bool:
        """Whether the regions are still being read."""
        return self._reading is not None

    def _on_opened(self) -> None:
        results = self.session.results
        if results is self._results:
            return
        self._stop_reading()
        self._done.clear()
        self._results, self._stamp, self.problem, self._last_name = results, None, "", ""
        self.path = self._find_path(results)
        if results is not None and self.path is None:
            self.problem = ELSEWHERE
        if self.path is None:
            self._watch.stop()
        else:
            self._watch.start()
            QTimer.singleShot(DELAY_MILLISECONDS, self, self.check_for_changes)
        self.changed.emit()

    def _find_path(self, results: Results | None) -> Path | None:
        if results is None or not isinstance(results.path, Path):
            return None
        stored_path = self.settings.text(self._key(results))
        if stored_path and Path(stored_path).exists():
            return Path(stored_path)
        if is_demo_file(results.path):  # part of the program
            return self._own_path(results)
        return default_path(results.path.absolute())

    @staticmethod
    def _key(results: Results) -> str:
        return "regions/" + ("".join(letter for letter in results.uuid if letter.isalnum())[:40] or "none")

    def _own_path(self, results: Results) -> Path:
        """Return a place of the user's own for the regions of a results file."""
        assert isinstance(results.path, Path)
        return self.settings.folder / self._key(results) / default_path(results.path).name

    # Reading

    def check_for_changes(self) -> None:
        """Read the regions file if it is another one than was read last, or was not read yet."""
        if self.path is None or self._reading is not None:
            return
        stamp = read_stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is None:
            self._take_none("")
        else:
            self._begin()

    def _begin(self) -> None:
        results = self.session.results
        assert results is not None
        assert self.path is not None
        assert isinstance(results.path, Path)
        from viewer.analysis.regions.regions_reading import RegionsReading  # imported late: few files have regions

        self._reading = RegionsReading(self.path, results.path.absolute())
        self._timer.start()

    def _poll(self) -> None:
        reading = self._reading
        answer = reading.poll() if reading is not None else None
        if reading is None or answer is None:
            return
        self._stop_reading()
        if answer:
            self._take_none(split_library_words(answer)[0])
            self.session.noticed.emit(self.problem)
        else:
            self.problem = ""
            self.session.take_regions(reading.regions)
        self._take_done()
        self.changed.emit()
        self.check_for_changes()

    def _take_none(self, problem: str) -> None:
        self.problem = problem
        self.session.take_regions(None)
        self.changed.emit()

    def _stop_reading(self) -> None:
        self._timer.stop()
        if self._reading is not None:
            self._reading.stop()
            self._reading = None

    def stop(self) -> None:
        """End what is still running, before the window ends."""
        self._watch.stop()
        self._stop_reading()
        self.process.stop()

    # Changing

    def _on_view_changed(self, before: ViewState, after: ViewState) -> None:
        self._last_name = after.region_name or before.region_name or self._last_name

    def suggest_name(self) -> str:
        """Return the name that a marked region is likely to get: the last chosen one, else the word that is shown."""
        results, view = self.session.results, self.session.state
        known_patches = self.session.regions
        if known_patches is not None and self._last_name in known_patches.regions:
            return self._last_name
        if results is None or view.query.kind != "text" or len(view.query.items) != 1:
            return ""
        try:
            chip = results.chips(view.frame)[view.query.first]
            check_name(chip.label)
        except (IndexError, UserError):
            return ""
        return chip.label if chip.role == "prompt" else ""

    def find_unavailable_reason(self) -> str:
        """Return why regions of the open file cannot be changed; empty if they can."""
        if self.session.results is None:
            return "no file is open"
        if self.path is None:
            return "the file lies on another machine"
        return "" if not self.problem else self.problem.rstrip(".")

    def track(self, name: str, *, is_whole: bool = True) -> bool:
        """Give the marked patches a name and follow them through the frames; return whether that has begun.

        Without `is_whole`, only the shown frame gets them.
        """
        from viewer.analysis.region_boxes import find_boxes  # imported late: it delays the first picture

        results, view = self.session.results, self.session.state
        if results is None or not view.region or view.region_name:
            self.session.noticed.emit("Drag a box on a picture first, or paint patches with Shift.")
            return False
        try:
            check_name(name)
        except UserError as error:
            self.session.noticed.emit(str(error))
            return False
        boxes = [f"{name}={box}@{view.frame}" for box in find_boxes(results, view.region)]
        only = () if is_whole else ("--frames", f"{view.frame}-{view.frame}")
        self._marked = view.region
        self._last_name = name
        return self._start(f"{'Tracking' if is_whole else 'Drawing'} {name}", "track", boxes, name, only)

    def track_again(self, name: str) -> bool:
        """Follow a region again from the frames in which it was drawn or imported, also into new frames."""
        return self._start(f"Tracking {name}", "track", [name], name)

    def rename(self, name: str, new: str) -> bool:
        """Give a region another name."""
        return new == name or self._start(f"Renaming {name}", "rename", [name, new], new)

    def recolor(self, name: str, color: str) -> bool:
        """Give a region another colour, `#rrggbb`."""
        return self._start(f"Recolouring {name}", "colour", [name, color], name)

    def remove(self, name: str) -> bool:
        """Forget a region; undo brings it back."""
        return self._start(f"Removing {name}", "remove", [name], "")

    def _start(self, title: str, verb: str, words: list[str], name: str, options: tuple[str, ...] = ()) -> bool:
        results, reason = self.session.results, self.find_unavailable_reason()
        if reason or results is None or not self._make_writable(results):
            if reason:
                self.session.noticed.emit(f"{reason[:1].upper()}{reason[1:]}.")
            return False
        assert self.path is not None
        assert isinstance(results.path, Path)
        path = results.path.absolute()
        # As pi0-regions finds a file that is still being written, also once it has its final name.
        path = path.with_name(path.name.removesuffix(schema.PARTIAL_SUFFIX))
        self.process.start(RegionsJob(title, verb, tuple(words), path, self.path, name, options))
        return True

    def _make_writable(self, results: Results) -> bool:
        """Ensure that the regions can be written, and ask for another place if not; return False if there is none."""
        assert self.path is not None
        try:
            if self.settings.folder in self.path.parents:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            check_writable(self.path)
        except (UserError, OSError):
            self.session.noticed.emit(f"{self.path.parent} is read-only; choose where to keep the regions.")
            chosen = file_dialogs.ask_regions_path(self.parent(), self._own_path(results))
            if chosen is None:
                return False
            return self._move_to(results, chosen)
        return True

    def _move_to(self, results: Results, chosen: Path) -> bool:
        """Keep the regions at another place from now on, with those that are known."""
        assert self.path is not None
        try:
            chosen.parent.mkdir(parents=True, exist_ok=True)
            check_writable(chosen)
            if self.path.exists() and chosen != self.path and not chosen.exists():
                shutil.copyfile(self.path, chosen)
        except (UserError, OSError) as error:
            self.session.noticed.emit(f"{chosen} cannot be written ({error}).")
            return False
        self.settings.set_text(self._key(results), str(chosen))
        self.path = chosen
        return True

    def _on_done(self, job: RegionsJob, edit: RegionEdit) -> None:
        if job.path == self.path:
            self._done.append((job, edit))
            self.check_for_changes()
            if not self.is_reading:  # it was noticed, and read, before the process had ended
                self._take_done()

    def _take_done(self) -> None:
        """Make the changes that were read steps of undo, choose the region, and tell where tracking lost it."""
        ended_jobs, self._done = self._done, []
        for job, edit in ended_jobs:
            view = self.session.state
            is_free = not view.region or bool(view.region_name) or view.region == self._marked
            self.session.take_edit(edit, **({"region_name": job.name} if job.name and is_free else {}))
            if job.verb == "remove" and view.region_name in job.words:
                self.session.update(region=())
            if job.verb == "track":
                self._tell_stops(job)

    def _tell_stops(self, job: RegionsJob) -> None:
        known_patches = self.session.regions
        region = None if known_patches is None else known_patches.regions.get(job.name)
        if region is None:
            return
        stops = [f"in {camera} at frame {frame}: {why}" for frame, camera, why in region.stops]
        if not stops:
            self.session.noticed.emit(f"{job.name} is known in {len(region.frames)} frames.")
        else:
            more = f" (and {len(stops) - 1} more)" if len(stops) > 1 else ""
            self.session.noticed.emit(
                f"{job.name} was lost {stops[0]}{more}. J goes there: draw it again, and it goes on."
            )

    def go_to_stop(self) -> None:
        """Show the next frame at which tracking lost the chosen region, or the first region with one."""
        known_patches, view = self.session.regions, self.session.state
        regions = [] if known_patches is None else list(known_patches.regions.values())
        chosen = [
            known_region for known_region in regions if known_region.name == (view.region_name or self._last_name)
        ]
        region = next((known_region for known_region in (*chosen, *regions) if known_region.stops), None)
        if region is None:
            self.session.noticed.emit("No region was lost by tracking.")
            return
        frames = sorted({frame for frame, _, _ in region.stops})
        frame = next((frame for frame in frames if frame > view.frame or view.region_name != region.name), frames[0])
        self.session.update(region_name=region.name, frame=frame)

    def choose_next(self) -> None:
        """Choose the named region after the chosen one, or the first."""
        names = [] if self.session.regions is None else list(self.session.regions.regions)
        chosen = self.session.state.region_name
        if names:
            self.session.update(region_name=names[(names.index(chosen) + 1) % len(names) if chosen in names else 0])
