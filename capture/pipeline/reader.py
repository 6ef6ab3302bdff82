"""Episodes planned and read for a run: where the run is, or by a process of its own.

Opening, decoding, resizing and tokenising are Python's work for the better part, and take its lock from calls that feed
a GPU. A process of its own does them beside, and puts pictures into shared memory (staging.py), where a process that
writes finds them too.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from capture.datasets.base import Episode
from capture.datasets.in_memory import InMemoryEpisode
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.plan import FileOutline, Plan, Setup, make_plan
from capture.pipeline.shared_arrays import ArrayLocation, BufferMappings
from capture.pipeline.shared_memory import ALIGNMENT, PictureBlock, PicturePool, SharedBuffer, buffer_size
from capture.pipeline.types import Job
from capture.pipeline.worker_process import WorkerProcess, serve_pipe
from capture.policies.base import Prepared, TokenTable
from capture.policies.letterbox import Letterbox, Picture
from capture.results.schema import Sizes


@dataclass(frozen=True)
class Moment:
    """What is run of one moment of an episode."""

    frames: Sequence[tuple[Prepared, int]]
    """A frame for each prompt, and its seed."""
    room: PictureBlock | None = None
    """Where its pictures lie, if other processes can see them."""


class Reader(Protocol):
    """Reads one episode at a time."""

    def plan(self, number: int, episode: Episode) -> FileOutline:
        """Plan the results file of an episode, that of job `number`. Raises UserError for what does not fit."""

    def moments_from(self, start: int) -> Iterator[Moment]:
        """Read what was planned last, from frame number `start` of its file on; see `Plan.moments_from`."""

    def close(self) -> None:
        """Let go of what it has."""


class InlineReader:
    """A reader that works in the thread that asks."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._plan: Plan

    def plan(self, number: int, episode: Episode) -> FileOutline:  # noqa: ARG002
        """See `Reader`."""
        self._plan = make_plan(self._setup, episode)
        return self._plan

    def moments_from(self, start: int) -> Iterator[Moment]:
        """See `Reader`."""
        return (Moment(frames) for frames in self._plan.moments_from(start))

    def close(self) -> None:
        """See `Reader`."""


class ReaderProcess:
    """A reader in a process of its own, one moment ahead of what is asked for.

    Until that process has started, which takes a few seconds, and where it cannot start or be sent what it needs,
    everything is read here.
    """

    def __init__(self, setup: Setup, parcel: ArrayLocation, shelf: PicturePool) -> None:
        """`parcel`: of `pack_setup`."""
        self._here, self._shelf = InlineReader(setup), shelf
        self._process = WorkerProcess(__name__, "reads the episodes")
        self._ready = self._process.ask("begin", parcel)
        self._asked: tuple[int, Episode]
        self._outline: FileOutline

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    def plan(self, number: int, episode: Episode) -> FileOutline:
        """See `Reader`."""
        self._asked = number, episode
        there = self._there()
        self._outline = self._process.ask("plan", number).result() if there else self._here.plan(number, episode)
        self._planned_there = there
        return self._outline

    def moments_from(self, start: int) -> Iterator[Moment]:
        """See `Reader`."""
        if not self._planned_there:
            for moment in self._here.moments_from(start):
                yield moment
                start += len(moment.frames)
                if self._there():
                    break
            else:
                return
            self._process.ask("plan", self._asked[0]).result()
        self._process.ask("read", start)
        size = _room(self._outline.sizes)
        coming = self._next(size)
        while True:
            room, answer = coming
            try:
                told = answer.result()
            except UserError:
                room.release()
                raise
            if told is None:
                room.release()
                return
            coming = self._next(size)
            yield _moment(told, room)

    def close(self) -> None:
        """See `Reader`."""
        self._process.kill()

    def _there(self) -> bool:
        """Whether the process has started and has what it needs."""
        return self._ready.done() and self._ready.exception() is None

    def _next(self, size: int) -> tuple[PictureBlock, Future[_SharedMoment | None]]:
        room = self._shelf.take(size)
        return room, self._process.ask("moment", room.place)


def can_read_in_workers(jobs: Sequence[Job]) -> bool:
    """Whether a process of its own is to read these episodes; not so where their pictures are in memory here."""
    return not any(isinstance(job.episode, InMemoryEpisode) for job in jobs)


def pack_setup(setup: Setup, jobs: Sequence[Job]) -> tuple[SharedBuffer, ArrayLocation] | None:
    """What a process that reads needs to know, in memory that it can see; None where that cannot be sent."""
    try:
        content = pickle.dumps((replace(setup, policy=setup.policy.without_weights()), [job.episode for job in jobs]))
    except Exception:  # noqa: BLE001 - whatever an episode of someone else's does when it is pickled
        return None
    slot = SharedBuffer(len(content), pinned=False)
    slot.copy(np.frombuffer(content, np.uint8))
    return slot, slot.part(0, len(content))


def describe_unexpected_error(error: Exception) -> str:
    """A sentence for what no reader should raise."""
    return f"reading it failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


@dataclass(frozen=True)
class _SharedMoment:
    """A moment as it is sent."""

    pictures: Mapping[str, tuple[ArrayLocation, ArrayLocation, ArrayLocation, Letterbox]]
    """Camera -> where the picture lies as it came, as the model sees it (uint8), and as the model is fed; its frame."""
    frames: Sequence[tuple[Observation, TokenTable, int]]


def _room(sizes: Sizes) -> int:
    """Bytes for the pictures of one moment."""
    height, width = sizes.model_picture
    seen = 3 * height * width
    return buffer_size([size for rows, cols in sizes.pictures for size in (3 * rows * cols, seen, 4 * seen)])


def _moment(told: _SharedMoment, room: PictureBlock) -> Moment:
    room.hold(len(told.frames))
    sources = {camera: room.array(places[0]) for camera, places in told.pictures.items()}
    pictures = {
        camera: Picture(room.array(model), torch.from_numpy(room.array(pixels)), letterbox)
        for camera, (_, model, pixels, letterbox) in told.pictures.items()
    }
    frames = [
        (Prepared(replace(observation, pictures=sources), pictures, tokens), seed)
        for observation, tokens, seed in told.frames
    ]
    return Moment(frames, room)


class _ReaderServer:
    """The other end of `ReaderProcess`."""

    def __init__(self) -> None:
        self._maps = BufferMappings()
        self._setup: Setup
        self._episodes: Sequence[Episode]
        self._plan: Plan
        self._moments: Iterator[list[tuple[Prepared, int]]]

    def carry_out(self, verb: str, *told: Any) -> Any:
        try:
            return getattr(self, verb)(*told)
        except UserError:
            raise
        except Exception as error:
            raise UserError(describe_unexpected_error(error)) from error

    def begin(self, parcel: ArrayLocation) -> None:
        torch.set_num_threads(1)  # there is little to share out, and other cores have other work
        self._setup, self._episodes = pickle.loads(self._maps.array(parcel).data)  # noqa: S301 - from our own process

    def plan(self, number: int) -> FileOutline:
        self._plan = make_plan(self._setup, self._episodes[number])
        return self._plan.outline

    def read(self, start: int) -> None:
        self._moments = self._plan.moments_from(start)

    def moment(self, room: ArrayLocation) -> _SharedMoment | None:
        frames = next(self._moments, None)
        if frames is None:
            return None
        free, start = self._maps.array(room), 0

        def put(array: npt.NDArray[Any]) -> ArrayLocation:
            nonlocal start
            content = np.ascontiguousarray(array)
            free[start : start + content.nbytes] = content.reshape(-1).view(np.uint8)
            place = replace(
                room,
                offset=room.offset + start,
                shape=content.shape,
                strides=content.strides,
                dtype=content.dtype.str,
            )
            start += -(-content.nbytes // ALIGNMENT) * ALIGNMENT
            return place

        shown = frames[0][0]
        pictures = {
            camera: (
                put(shown.observation.pictures[camera]),
                put(picture.model_u8),
                put(picture.pixels.numpy()),
                picture.letterbox,
            )
            for camera, picture in shown.pictures.items()
        }
        return _SharedMoment(
            pictures, [(replace(one.observation, pictures={}), one.tokens, seed) for one, seed in frames]
        )


def serve(descriptor: str) -> None:
    """Read what the other end of the pipe asks for, until it is gone; for the process of a `ReaderProcess`."""
    serve_pipe(descriptor, _ReaderServer().carry_out)
