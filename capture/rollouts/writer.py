"""Write what a policy attended to while it acts, in a thread of its own that the policy's calls never wait for.

For a policy server or a loop of one's own::

    with RolloutWriter(Path("runs/"), RolloutRun.from_setup(setup, every=8)) as writer:
        stream = writer.open_stream("client 1")  # one for each client or environment
        ...
        slot = stream.start_call(observation.prompt)  # a changed prompt ends the episode
        if slot.is_recorded:
            with recorder:
                call = policy.run([prepared], recorder, seeds=[seed])
            actions = call.actions[0]  # answered before or after the next line: it does not wait for the disk
            slot.store(call)
        else:
            actions = policy.plain([prepared], seeds=[seed])
        ...
        stream.end_episode(success=True)
        stream.close()
    writer.counts  # calls, recorded, dropped, episodes, files, failures

Each episode becomes one results file in the folder, `episode_000000.h5` and so on, and an entry of its `index.json`,
so that `pi0-viewer runs/` shows the run, also while it grows. At most `max_pending` recordings wait for the disk;
further ones are dropped, never delayed, and counted in the file (`frames/dropped`, attribute `rollout`).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

from capture.errors import UserError
from capture.rollouts.call_regions import CallRegions
from capture.rollouts.episode_files import EpisodeFiles
from capture.rollouts.recovery import find_unfinished
from capture.rollouts.stream import Episode, EpisodeStream
from capture.rollouts.transfer import Copier, StorableCall, Transfer

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from capture.rollouts.run_description import RolloutRun
    from capture.rollouts.stream import CallSlot

MAX_PENDING: Final = 4
"""Recordings that may wait for the disk, 40 MB each of a full-size policy."""
CLOSED: Final = "the recording was closed"
NICENESS: Final = 10
"""By how much the writing thread gives way to the policy's, where the system knows threads' priorities (Linux). On two
busy cores recording then adds 5 % to a call of the demo policy instead of 15 to 30 %; at 19 most recordings drop."""
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolloutCounts:
    """What a writer has done so far."""

    calls: int = 0
    """Calls of the policy, recorded or not."""
    recorded: int = 0
    """Frames that are in the files."""
    dropped: int = 0
    """Recordings that were to be made and are not in the files."""
    episodes: int = 0
    """Results files that were begun."""
    files: tuple[Path, ...] = ()
    """Results files that are complete, in order."""
    failures: tuple[str, ...] = ()
    """Why recordings or files failed, each sentence once."""

    @property
    def sentence(self) -> str:
        """A line for the user."""
        text = f"{self.recorded} of {self.calls} calls recorded in {self.episodes} episodes"
        return text + (f"; {self.dropped} recordings dropped" if self.dropped else "")


@dataclass(frozen=True)
class _Recording:
    """A recorded call that waits for the disk."""

    slot: CallSlot
    transfer: Transfer
    dropped: int
    """Recordings of its episode that had been dropped before."""


class RolloutWriter:
    """Writer of a run of rollouts, and the thread that writes it. Thread-safe; a context manager.

    Args:
        folder: Of the run; it is made if it is missing. Episodes are numbered on from those in it.
        run: What the files have in common.
        max_pending: Recordings that may wait for the disk; more are dropped.
        log: Called with a sentence for the user, from any thread, when recordings are dropped for the first time in an
            episode, or something cannot be written. None logs it as a warning.

    Nothing that happens in the thread, such as a full disk, is raised in a caller: it costs recordings, and `counts`
    and `log` say so. The `.partial` file of a process that is killed keeps its finished frames.

    Raises UserError where the folder cannot be used, or holds another run.
    """

    def __init__(
        self,
        folder: Path,
        run: RolloutRun,
        *,
        max_pending: int = MAX_PENDING,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if max_pending < 1:
            raise ValueError(f"max_pending={max_pending}: at least one recording has to wait for the disk")
        self.folder, self.run = folder, run
        self._max_pending = max_pending
        self._log_line = log or _log.warning
        self._files = EpisodeFiles(
            folder, run, self._note_finished, self.note_problem
        )  # for the thread alone from here on
        self._copier = Copier(run.kept)
        self._changed = threading.Condition()
        """Guards all that follows."""
        self._streams: set[EpisodeStream] = set()
        self._counts = RolloutCounts()
        self._queue: deque[_Recording | Episode] = deque()
        """Recordings to write and episodes to end."""
        self._pending = 0
        """Recordings that were accepted and are not written yet."""
        self._failed: set[Episode] = set()
        """Episodes that are not recorded further."""
        self._is_busy = False
        """Whether the thread works at an item of the queue."""
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="rollout-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        if count := len(find_unfinished(folder, patience=0.0)):
            what = "recording" + "s" * (count != 1)
            them = "them" if count != 1 else "it"
            self._notify(f"{folder} has {count} unfinished {what}; pi0-capture recover {folder} completes {them}")

    def open_stream(self, name: str) -> EpisodeStream:
        """Return the calls of a new client or environment; `name` is stored with its episodes."""
        stream = EpisodeStream(self, name)
        with self._changed:
            self._streams.add(stream)
        return stream

    @property
    def counts(self) -> RolloutCounts:
        """What was done so far."""
        with self._changed:
            return self._counts

    def settle(self) -> None:
        """Wait until everything that was handed over is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue and not self._pending and not self._is_busy)

    def close(self, reason: str = CLOSED) -> RolloutCounts:
        """End the episodes that run, wait until all is written, and end the thread. May be called again."""
        atexit.unregister(self.close)
        with self._changed:
            streams = tuple(self._streams)
        for stream in streams:
            stream.close(reason)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        return self.counts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CLOSED if kind is None else f"{kind.__name__} ended the caller's loop")

    # For streams and slots

    def count_call(self) -> None:
        """Count a call of the policy. Raises RuntimeError after `close`."""
        with self._changed:
            if self._is_closing:
                raise RuntimeError("this recording is closed; open another one")
            self._counts = replace(self._counts, calls=self._counts.calls + 1)

    def has_room(self, episode: Episode) -> bool:
        """Return whether a recording of the episode would be accepted now."""
        with self._changed:
            return self._has_room(episode)

    def _has_room(self, episode: Episode) -> bool:
        return self._pending < self._max_pending and episode not in self._failed and not episode.is_ended

    def count_dropped(self, episode: Episode) -> None:
        """Count a recording that is not made or not stored."""
        with self._changed:
            episode.dropped += 1
            self._counts = replace(self._counts, dropped=self._counts.dropped + 1)
            is_late = episode.dropped == 1 and self._pending >= self._max_pending
        if is_late:
            self._notify(f"recordings of {episode.stream} are dropped: the disk of {self.folder} is late")

    def accept(self, slot: CallSlot, call: StorableCall) -> bool:
        """Queue a recording; return False, and count it as dropped, where there is no room for it."""
        with self._changed:
            is_accepted = slot.is_recorded and self._has_room(slot.episode)
            self._pending += is_accepted
            dropped = slot.episode.dropped
            if is_accepted:
                names = slot.episode.name_regions(() if slot.masks is None else slot.masks.names)
                regions = CallRegions(names, slot.masks)
        if not is_accepted:
            self.count_dropped(slot.episode)
            return False
        try:
            recording = _Recording(slot, self._copier.start(call, regions), dropped)
        except BaseException:
            self._settle_one()
            raise
        with self._changed:
            self._queue.append(recording)
            self._changed.notify_all()
        return True

    def note_problem(self, sentence: str) -> None:
        """Keep and tell a sentence about what could not be recorded beside a call, once; from any thread."""
        with self._changed:
            is_new = sentence not in self._counts.failures
            if is_new:
                self._counts = replace(self._counts, failures=(*self._counts.failures, sentence))
        if is_new:
            self._notify(sentence)

    def end(self, episode: Episode) -> None:
        """Queue the end of an episode, whose file is completed after its recordings."""
        with self._changed:
            episode.is_ended = True
            self._queue.append(episode)
            self._changed.notify_all()

    def forget(self, stream: EpisodeStream) -> None:
        """Forget a stream that was closed."""
        with self._changed:
            self._streams.discard(stream)

    # The thread

    def _work(self) -> None:
        _lower_priority()
        while self._process_next():
            pass

    def _process_next(self) -> bool:
        """Process the next item of the queue, once there is one; return False at the end."""
        item = self._next()
        try:
            if isinstance(item, Episode):
                self._finish(item)
            elif item is not None:
                self._write(item)
        except Exception as error:  # noqa: BLE001 - the policy's loop goes on, whatever the recording meets
            self._fail(item, error)
        finally:
            if isinstance(item, _Recording):
                self._settle_one()
        return item is not None

    def _next(self) -> _Recording | Episode | None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()  # for `settle`
            self._changed.wait_for(lambda: bool(self._queue) or self._is_closing)
            self._is_busy = bool(self._queue)
            return self._queue.popleft() if self._queue else None

    def _settle_one(self) -> None:
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def _write(self, recording: _Recording) -> None:
        episode = recording.slot.episode
        if episode in self._failed:
            self.count_dropped(episode)
            return
        is_new = self._files.write(recording.slot, recording.transfer, recording.dropped)
        with self._changed:
            now = self._counts
            self._counts = replace(now, recorded=now.recorded + 1, episodes=now.episodes + is_new)

    def _finish(self, episode: Episode) -> None:
        self._files.finish(episode, episode.ended)
        with self._changed:
            self._failed.discard(episode)

    def _note_finished(self, path: Path) -> None:
        with self._changed:
            self._counts = replace(self._counts, files=(*self._counts.files, path))

    def _fail(self, item: _Recording | Episode | None, error: Exception) -> None:
        """Close the file of an episode under its partial name; record nothing more of that episode."""
        sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, UserError):
            _log.error("a recording failed", exc_info=error)
        episode = item.slot.episode if isinstance(item, _Recording) else item
        assert episode is not None
        lost = self._files.abandon(episode, sentence)
        with self._changed:
            now = self._counts
            is_new = sentence not in now.failures
            failures = (*now.failures, sentence) if is_new else now.failures
            self._counts = replace(now, failures=failures, recorded=now.recorded - lost, dropped=now.dropped + lost)
            if isinstance(item, _Recording):
                self._failed.add(episode)
        if isinstance(item, _Recording):
            self.count_dropped(episode)
        if is_new:
            self._notify(f"this episode of {episode.stream} is not recorded further: {sentence}")

    def _notify(self, sentence: str) -> None:
        try:
            self._log_line(sentence)
        except Exception:  # noqa: BLE001 - the caller's function; a recording does not end with it
            _log.exception("%s", sentence)


def _lower_priority() -> None:
    """Let this thread give way to all others of the process. Linux alone has a priority for each thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid it: writing then competes with the policy
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + NICENESS, 19))
