"""Prefetch the next and the previous episode: check, open and read their files in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QTimer

from capture.results import schema
from viewer.analysis import scene, token_values
from viewer.analysis.atlas import score_heads
from viewer.controllers.reading.view_plan import read_view
from viewer.errors import READ_ERRORS, GivenUpError, UserError
from viewer.io.open_file import read_stamp
from viewer.io.results import Results

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.analysis.initial_view import CarriedView
    from viewer.controllers.files.probe_worker import ProbeRequest, ProbeWorker
    from viewer.controllers.worker import Worker
    from viewer.io.open_file import Stamp

REST_MILLISECONDS: Final = 250
"""Delay after opening an episode, so that prefetching does not slow down quick steps through the episodes."""


class EpisodePrefetch(QObject):
    """Open files of the wanted episodes, at most one for each path; files no longer wanted are closed."""

    def __init__(self, probe_worker: ProbeWorker, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.probe_worker, self.worker = probe_worker, worker
        self.ready: dict[Location, tuple[Results, Stamp | None]] = {}
        self._requested_paths: list[Location] = []
        self._carried: CarriedView | None = None
        self._request: ProbeRequest | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MILLISECONDS)
        self._timer.timeout.connect(self._open_next)
        probe_worker.answered.connect(self._on_probed)

    def set_files(self, paths: list[Location], carried: CarriedView) -> None:
        """Set the files to prefetch, in this order, for this view; unfinished files are skipped, as they change."""
        self._requested_paths = [path for path in paths if not path.name.endswith(schema.PARTIAL_SUFFIX)]
        self._carried = carried
        for path in [path for path in self.ready if path not in self._requested_paths]:
            self.ready.pop(path)[0].close()
        self._timer.start()

    def _open_next(self) -> None:
        path = next((path for path in self._requested_paths if path not in self.ready), None)
        if path is not None and (
            self._request is None or self._request.path != path or self._request.answer is not None
        ):
            self._request = self.probe_worker.request_check(path)

    def _on_probed(self, request: ProbeRequest) -> None:
        if request is not self._request or self._carried is None or request.path not in self._requested_paths:
            return
        path, carried = request.path, self._carried
        if request.answer:
            self._requested_paths.remove(path)  # reported when the user opens it
            self._timer.start()
            return
        self.worker.ask("ahead", (path, carried), lambda _: opened(path, carried), self._take)

    def _take(self, answer: tuple[Results, Stamp | None] | None) -> None:
        if answer is None:
            return
        path = answer[0].path
        if path in self._requested_paths and path not in self.ready:
            self.ready[path] = answer
            self._open_next()
        else:
            answer[0].close()

    def take(self, path: Location) -> Results | None:
        """Return the open file of a path and hand it over; None if it is not prefetched or has changed since."""
        results, stamp = self.ready.pop(path, (None, None))
        if results is None:
            return None
        # Of a slow file, whose server is not to be waited for, what is known already decides whether it has changed.
        has_changed = bool(results.file_change) if results.access.is_slow else stamp != read_stamp(path)
        if has_changed:
            results.close()
            return None
        return results

    def stop(self) -> None:
        """Cancel prefetching and close all files."""
        self._timer.stop()
        self.worker.drop("ahead")
        self._requested_paths, self._request = [], None
        for results, _ in self.ready.values():
            results.close()
        self.ready = {}


def opened(path: Location, carried: CarriedView) -> tuple[Results, Stamp | None] | None:
    """Open a file and read what its first picture needs into its cache; return None if it cannot be opened.

    Runs in the background thread, which is safe because nothing else uses the file yet.
    """
    stamp = read_stamp(path)
    try:
        results = Results(path)
    except UserError:
        return None
    try:
        view = carried.onto(results)
        if results.access.is_slow:  # the rest would keep the network from what the window shows
            read_view(results, view)
            return results, stamp
        scene.compose(results, view)
        token_values.strips(results, view, None)
        score_heads(results, view)
        for camera in range(len(results.cameras)):
            results.picture(view.frame, camera, view.picture)
            results.to_model(view.frame, camera)
    except READ_ERRORS:
        pass  # reported when the window shows it
    except GivenUpError:
        results.close()
        raise
    return results, stamp
