"""Plan and read episodes: in the thread that asks, or in a child process.

Opening, decoding, resizing and tokenising hold the GIL for most of their time, which delays the launches of GPU
kernels. A child process does them in parallel, and puts pictures into shared memory, from where writer processes read
them too.
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
from capture.pipeline.planning.plan import FileOutline, Plan, make_plan
from capture.pipeline.planning.setup import Setup
from capture.pipeline.shared_memory import (
    ALIGNMENT,
    ArrayLocation,
    BufferMappings,
    PictureBlock,
    PicturePool,
    SharedBuffer,
    buffer_size,
)
from capture.pipeline.types import Job
from capture.pipeline.worker_process import WorkerProcess, serve_pipe
from capture.policies.base import Prepared, TokenTable
from capture.policies.letterbox import Letterbox, Picture
from capture.results.schema import Sizes


@dataclass(frozen=True)
class Moment:
    """One moment of an episode (a frame of its source), to be run once for each prompt."""

    frames: Sequence[tuple[Prepared, int]]
    """One prepared frame for each prompt, and its seed."""
    block: PictureBlock | None = None
    """Where its pictures lie, if in shared memory."""


class Reader(Protocol):
    """Plans and reads one episode at a time."""

    def plan(self, number: int, episode: Episode) -> FileOutline:
        """Plan the results file of job `number`. Raises UserError for data that does not fit the policy."""

    def moments_from(self, start: int) -> Iterator[Moment]:
        """Yield the moments of the last planned episode from frame `start` of its file; see `Plan.moments_from`."""

    def close(self) -> None:
        """Release its resources."""


class InlineReader:
    """A reader that works in the calling thread."""

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
    """A reader in a child process, which reads one moment ahead.

    Until that process has started, which takes a few seconds, and if it cannot start or unpickle what it needs, the
    calling thread reads.
    """

    def __init__(self, setup: Setup, packed: ArrayLocation, pool: PicturePool) -> None:
        """`packed`: location of the setup and episodes, from `pack_setup`."""
        self._inline, self._pool = InlineReader(setup), pool
        self._process = WorkerProcess(__name__, "reads the episodes")
        self._ready = self._process.ask("unpack", packed)
        self._job: tuple[int, Episode]
        self._outline: FileOutline

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def plan(self, number: int, episode: Episode) -> FileOutline:
        """See `Reader`."""
        self._job = number, episode
        is_ready = self._is_ready()
        self._outline = self._process.ask("plan", number).result() if is_ready else self._inline.plan(number, episode)
        self._is_planned_by_child = is_ready
        return self._outline

    def moments_from(self, start: int) -> Iterator[Moment]:
        """See `Reader`."""
        if not self._is_planned_by_child:
            for moment in self._inline.moments_from(start):
                yield moment
                start += len(moment.frames)
                if self._is_ready():
                    break
            else:
                return
            self._process.ask("plan", self._job[0]).result()
        self._process.ask("read", start)
        size = _block_size(self._outline.sizes)
        upcoming = self._next(size)
        while True:
            block, answer = upcoming
            try:
                shared = answer.result()
            except UserError:
                block.release()
                raise
            if shared is None:
                block.release()
                return
            upcoming = self._next(size)
            yield _moment(shared, block)

    def close(self) -> None:
        """See `Reader`."""
        self._process.kill()

    def _is_ready(self) -> bool:
        """Return whether the child process has started and has unpacked the setup."""
        return self._ready.done() and self._ready.exception() is None

    def _next(self, size: int) -> tuple[PictureBlock, Future[_SharedMoment | None]]:
        block = self._pool.take(size)
        return block, self._process.ask("moment", block.location)


def can_read_in_workers(jobs: Sequence[Job]) -> bool:
    """Return whether child processes may read these episodes: not those whose pictures are in memory here."""
    return not any(isinstance(job.episode, InMemoryEpisode) for job in jobs)


def pack_setup(setup: Setup, jobs: Sequence[Job]) -> tuple[SharedBuffer, ArrayLocation] | None:
    """Pickle setup and episodes into shared memory for reader processes. Returns None if they cannot be pickled."""
    try:
        content = pickle.dumps((replace(setup, policy=setup.policy.without_weights()), [job.episode for job in jobs]))
    except Exception:  # noqa: BLE001 - pickling an episode may run any code
        return None
    buffer = SharedBuffer(len(content), pinned=False)
    buffer.copy(np.frombuffer(content, np.uint8))
    return buffer, buffer.part(0, len(content))


def describe_unexpected_error(error: Exception) -> str:
    """Return the sentence for an exception that is no UserError."""
    return f"reading it failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


@dataclass(frozen=True)
class _SharedMoment:
    """A moment as it is sent through the pipe."""

    pictures: Mapping[str, tuple[ArrayLocation, ArrayLocation, ArrayLocation, Letterbox]]
    """Camera -> locations of the source picture, the model's picture (uint8) and the model's input; its letterbox."""
    frames: Sequence[tuple[Observation, TokenTable, int]]
    coverage: npt.NDArray[np.float32] | None
    """Of the regions, see `Prepared`."""


def _block_size(sizes: Sizes) -> int:
    """Return the bytes that the pictures of one moment take."""
    height, width = sizes.model_picture
    model_bytes = 3 * height * width
    return buffer_size(
        [size for rows, cols in sizes.pictures for size in (3 * rows * cols, model_bytes, 4 * model_bytes)]
    )


def _moment(shared: _SharedMoment, block: PictureBlock) -> Moment:
    block.hold(len(shared.frames))
    sources = {camera: block.array(places[0]) for camera, places in shared.pictures.items()}
    pictures = {
        camera: Picture(block.array(model), torch.from_numpy(block.array(pixels)), letterbox)
        for camera, (_, model, pixels, letterbox) in shared.pictures.items()
    }
    frames = [
        (Prepared(replace(observation, pictures=sources), pictures, tokens, shared.coverage), seed)
        for observation, tokens, seed in shared.frames
    ]
    return Moment(frames, block)


class _ReaderServer:
    """The child process's side of `ReaderProcess`."""

    def __init__(self) -> None:
        self._maps = BufferMappings()
        self._setup: Setup
        self._episodes: Sequence[Episode]
        self._plan: Plan
        self._moments: Iterator[list[tuple[Prepared, int]]]

    def execute(self, verb: str, *arguments: Any) -> Any:
        try:
            return getattr(self, verb)(*arguments)
        except UserError:
            raise
        except Exception as error:
            raise UserError(describe_unexpected_error(error)) from error

    def unpack(self, packed: ArrayLocation) -> None:
        torch.set_num_threads(1)  # the tensors are small, and other processes use the other cores
        self._setup, self._episodes = pickle.loads(self._maps.array(packed).data)  # noqa: S301 - written by the parent process

    def plan(self, number: int) -> FileOutline:
        self._plan = make_plan(self._setup, self._episodes[number])
        return self._plan.outline

    def read(self, start: int) -> None:
        self._moments = self._plan.moments_from(start)

    def moment(self, block: ArrayLocation) -> _SharedMoment | None:
        frames = next(self._moments, None)
        if frames is None:
            return None
        free, start = self._maps.array(block), 0

        def put(array: npt.NDArray[Any]) -> ArrayLocation:
            nonlocal start
            content = np.ascontiguousarray(array)
            free[start : start + content.nbytes] = content.reshape(-1).view(np.uint8)
            location = replace(
                block,
                offset=block.offset + start,
                shape=content.shape,
                strides=content.strides,
                dtype=content.dtype.str,
            )
            start += -(-content.nbytes // ALIGNMENT) * ALIGNMENT
            return location

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
            pictures,
            [(replace(item.observation, pictures={}), item.tokens, seed) for item, seed in frames],
            shown.coverage,
        )


def serve(descriptor: str) -> None:
    """Execute requests from the pipe until it is closed; runs in the child process."""
    serve_pipe(descriptor, _ReaderServer().execute)
