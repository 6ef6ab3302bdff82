"""The calls of one client or environment: counted, cut into episodes, and handed over if they are to be recorded."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from capture.results.scores_schema import MAX_REGIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.provenance import Decision
    from capture.rollouts.call_masks import CallMasks
    from capture.rollouts.transfer import StorableCall
    from capture.rollouts.writer import RolloutWriter

PROMPT_CHANGED: Final = "the prompt changed"


@dataclass(eq=False)
class Episode:
    """One episode while it runs, as counted by the thread that calls the policy."""

    stream: str
    prompt: str
    clock: float
    """When its first call began, seconds since 1970."""
    start: float
    """The same in seconds of `time.perf_counter`."""
    decisions: tuple[Decision, ...] = ()
    """About the observations of its stream."""
    calls: int = 0
    regions: tuple[str, ...] = ()
    """Names of the regions whose masks came with its recorded calls so far."""
    dropped: int = 0
    """Recordings that were to be made and were not, since the disk was late or they could not be stored."""
    success: bool | None = None
    ended: str = ""
    """Why it ended; empty while it runs."""
    is_ended: bool = False

    def name_regions(self, names: Sequence[str]) -> tuple[str, ...]:
        """Add regions that are not known yet, as long as a file has room for them, and return all of the episode."""
        new = [name for name in names if name not in self.regions]
        self.regions += tuple(new[: MAX_REGIONS - len(self.regions)])
        return self.regions


@dataclass
class CallSlot:
    """One call of the policy in an episode; `EpisodeStream.start_call` makes it."""

    episode: Episode
    index: int
    """Number of the call in its episode, from 0."""
    clock: float
    """When it began, seconds since 1970."""
    start: float
    is_recorded: bool
    """Whether the caller is to record it and to `store` it."""
    _writer: RolloutWriter
    seconds: float = field(default=float("nan"))
    """How long the call took."""
    masks: CallMasks | None = None
    """Masks of objects in the pictures of the call, which are scored as regions; set before `store`."""

    def store(self, call: StorableCall, *, seconds: float | None = None) -> bool:
        """Hand over the recording of this call, of one observation. Never waits for the disk.

        `call`: its tensors must not be changed afterwards; for a policy on the CPU, a function may be given that the
        writer's thread calls to make it. `seconds`: how long the call took; None: since `start_call`. On a GPU, what is
        stored is computed on the current stream, and copied on another one. Returns False where the recording was
        dropped: `max_pending` others wait for the disk, the episode has ended, or writing failed.

        Raises ValueError for a call of several observations.
        """
        if not callable(call) and len(call.prepared) != 1:
            raise ValueError(f"a call of {len(call.prepared)} observations belongs to as many streams; split it first")
        self.seconds = time.perf_counter() - self.start if seconds is None else seconds
        return self._writer.accept(self, call)

    def drop(self) -> None:
        """Count the recording of this call as dropped, for instance where the call failed."""
        self._writer.count_dropped(self.episode)


class EpisodeStream:
    """The calls of one client or environment, in order; `RolloutWriter.open_stream` makes it. Thread-safe.

    An episode begins with the first call. It ends with `end_episode`, with a call that has another prompt, or with
    `close`.
    """

    def __init__(self, writer: RolloutWriter, name: str) -> None:
        self.name = name
        self.decisions: tuple[Decision, ...] = ()
        """About the observations of this client or environment, such as which camera feeds which slot: they join the
        provenance of the episodes that begin from now on."""
        self._writer = writer
        self._lock = threading.Lock()
        self._episode: Episode | None = None

    @property
    def episode(self) -> Episode | None:
        """The episode that runs; None between two."""
        return self._episode

    def start_call(self, prompt: str, *, record: bool | None = None) -> CallSlot:
        """Count a call of the policy that begins now, and return whether it is to be recorded.

        `record`: whether to record it; None records each `every`-th call of an episode. A call is not to be recorded
        where the disk is late already; it then counts as dropped.
        """
        with self._lock:
            now, clock = time.perf_counter(), time.time()
            if self._episode is not None and self._episode.prompt != prompt:
                self._end(None, PROMPT_CHANGED)
            if self._episode is None:
                self._episode = Episode(self.name, prompt, clock, now, self.decisions)
            self._writer.count_call()
            episode = self._episode
            index = episode.calls
            episode.calls += 1
            is_wanted = index % self._writer.run.every == 0 if record is None else record
            is_recorded = is_wanted and self._writer.has_room(episode)
            if is_wanted and not is_recorded:
                self._writer.count_dropped(episode)
        return CallSlot(episode, index, clock, now, is_recorded, self._writer)

    def end_episode(self, *, success: bool | None = None, reason: str = "ended by the caller") -> None:
        """End the episode that runs, if any: its file is completed once its last recording is on the disk.

        `success`: whether the task was done; None if unknown. `reason`: why it ended, which the file keeps.
        """
        with self._lock:
            self._end(success, reason)

    def close(self, reason: str = "the stream was closed") -> None:
        """End the episode that runs, and forget the stream."""
        self.end_episode(reason=reason)
        self._writer.forget(self)

    def _end(self, success: bool | None, reason: str) -> None:
        episode, self._episode = self._episode, None
        if episode is not None:
            episode.success, episode.ended = success, reason
            self._writer.end(episode)
