"""The frames that come next while playing: their bytes are read beforehand, so that nobody waits for the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject

from viewer import scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.results import Results
    from viewer.session import Session
    from viewer.state import ViewState
    from viewer.worker import Worker

MOST_BYTES: Final = 256 << 20
"""No more is read for one frame; a full-size one has some 10 MB."""


class FramesAhead(QObject):
    """Reads each frame that is coming once."""

    def __init__(self, session: Session, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session, self.worker = session, worker
        self._read: set[tuple[object, ...]] = set()
        session.opened.connect(self._forget)

    def _forget(self) -> None:
        self._read = set()
        self.worker.drop("frames ahead")

    def read(self, frames: tuple[int, ...]) -> None:
        """Have the bytes of these frames in memory, for the query that is shown."""
        results, state = self.session.results, self.session.state
        fresh = tuple(frame for frame in frames if (frame, state.query, state.picture) not in self._read)
        if results is None or not fresh:
            return
        self._read.update((frame, state.query, state.picture) for frame in fresh)
        key = (id(results), state.query, state.picture, fresh)
        self.worker.ask("frames ahead", key, lambda stale: read_ahead(results, state, fresh, stale), _done)


def _done(_: object) -> None:
    """The bytes themselves are not wanted: the system keeps them for whoever reads them next."""


def read_ahead(results: Results, state: ViewState, frames: tuple[int, ...], stale: Callable[[], bool]) -> int:
    """Read the bytes of some frames past HDF5, whose lock the window needs meanwhile; how many they were."""
    total = 0
    with results.path.open("rb", buffering=0) as file:
        for frame in frames:
            query = scene.matched(state.query, results, state.frame, results, frame)
            tokens = scene.tokens_of(results, frame, query)
            for offset, size in results.extents(frame, query.kind, tokens, state.picture):
                if stale() or size > MOST_BYTES:
                    return total
                file.seek(offset)
                total += len(file.read(size))
    return total
