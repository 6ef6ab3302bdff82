"""Episodes read in a process of their own: the same pictures, tokens and messages, with bounded memory."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import episode_files
import numpy as np
import pytest
import torch
from synthetic_episodes import (
    LENGTHS,
    ActAfterFrames,
    ProgressLog,
    SyntheticEpisode,
    assert_same_results,
    make_jobs,
    small_setup,
    wait_until,
    with_options,
)

from capture.datasets.base import SourceOptions
from capture.datasets.in_memory import InMemoryEpisode
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.planning.frame_selection import parse_frames
from capture.pipeline.planning.prompts import Prompts
from capture.pipeline.planning.setup import Setup
from capture.pipeline.reader import InlineReader, Moment, ReaderProcess, can_read_in_workers, pack_setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.shared_memory import PictureBlock, PicturePool
from capture.pipeline.types import Job
from capture.pipeline.worker_process import ProcessGoneError, can_start_workers
from capture.provenance import Decision

pytestmark = [
    pytest.mark.skipif(not can_start_workers(), reason="a process of its own needs Linux"),
    pytest.mark.usefixtures("one_thread"),
]


class CrashingEpisode(SyntheticEpisode):
    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        return ()

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        raise ZeroDivisionError("of the reader")


class UnpicklableEpisode(SyntheticEpisode):
    """An episode that can be pickled, but not unpickled."""

    def __setstate__(self, state: object) -> None:
        raise TypeError("not here")


@pytest.fixture(scope="module")
def setup(checkpoint: Path) -> Setup:
    return small_setup(checkpoint)


@pytest.fixture
def reader() -> Iterator[Callable[..., ReaderProcess]]:
    """Makes a reader that has started, of these episodes."""
    started: list[ReaderProcess] = []

    def make(setup: Setup, *episodes: SyntheticEpisode) -> ReaderProcess:
        parcel = pack_setup(setup, [Job(Path(f"{episode.name}.h5"), episode) for episode in episodes])
        assert parcel is not None
        started.append(ReaderProcess(setup, parcel[1], PicturePool()))
        wait_until(started[-1]._ready.done)
        return started[-1]

    yield make
    for process in started:
        process.close()


@pytest.fixture
def reader_processes(monkeypatch: pytest.MonkeyPatch) -> list[ReaderProcess]:
    """Let runs read and write two files at once with processes, as on a GPU; the readers of the last one."""
    started: list[ReaderProcess] = []

    class Known(ReaderProcess):
        def __init__(self, setup, parcel, shelf) -> None:
            super().__init__(setup, parcel, shelf)
            wait_until(self._ready.done)
            started.append(self)

        def moments_from(self, start: int) -> Iterator[Moment]:
            for moment in super().moments_from(start):
                assert moment.block is not None  # read there, not here
                yield moment

    monkeypatch.setattr("capture.pipeline.runner.uses_workers", lambda options: True)
    monkeypatch.setattr("capture.pipeline.runner.choose_file_count", lambda batch, cores: 2)
    monkeypatch.setattr("capture.pipeline.runner.ReaderProcess", Known)
    return started


def assert_same_moments(first: list[Moment], second: list[Moment]) -> None:
    assert len(first) == len(second)
    for moment, other_moment in zip(first, second, strict=True):
        for (prepared, seed), (other, seed_there) in zip(moment.frames, other_moment.frames, strict=True):
            assert seed == seed_there
            for field in dataclasses.fields(Observation):
                value, found = (
                    getattr(prepared.observation, field.name),
                    getattr(other.observation, field.name),
                )
                if field.name == "pictures":
                    assert value.keys() == found.keys()
                    assert all(np.array_equal(value[camera], found[camera]) for camera in value)
                else:
                    assert np.array_equal(value, found), field.name
            for field in dataclasses.fields(prepared.tokens):
                assert np.array_equal(getattr(prepared.tokens, field.name), getattr(other.tokens, field.name)), (
                    field.name
                )
            assert list(prepared.pictures) == list(other.pictures)
            for camera, picture in prepared.pictures.items():
                assert np.array_equal(picture.model_u8, other.pictures[camera].model_u8)
                assert torch.equal(picture.pixels, other.pictures[camera].pixels)
                assert picture.letterbox == other.pictures[camera].letterbox
        assert all(frame.pictures is other_moment.frames[0][0].pictures for frame, _ in other_moment.frames)


def keep_moments(moments: Iterator[Moment]) -> list[Moment]:
    """Return all moments without releasing their picture blocks."""
    return list(moments)


def test_reader_process_reads_the_same_as_inline_reader(setup: Setup, reader: Callable[..., ReaderProcess]) -> None:
    setup_of_prompts = with_options(
        setup, prompts=Prompts(("{task}", "go", "put the mug down")), frames=parse_frames("::2")
    )
    first, second = SyntheticEpisode("a"), SyntheticEpisode("b", length=3)
    process, inline = reader(setup_of_prompts, first, second), InlineReader(setup_of_prompts)
    for number, episode in ((1, second), (0, first)):
        plan, planned = process.plan(number, episode), inline.plan(number, episode)
        assert (plan.sizes, plan.run, plan.warnings) == (planned.sizes, planned.run, planned.warnings)
        for start in (0, 4):
            assert_same_moments(keep_moments(inline.moments_from(start)), keep_moments(process.moments_from(start)))


def test_episodes_that_cannot_be_unpickled_are_read_inline(setup: Setup, reader: Callable[..., ReaderProcess]) -> None:
    class Local(SyntheticEpisode):
        pass

    assert pack_setup(setup, [Job(Path("a.h5"), Local())]) is None
    awkward = UnpicklableEpisode("a", length=2)
    process = reader(setup, awkward)
    assert process.plan(0, awkward).sizes.frames == 2
    moments = keep_moments(process.moments_from(0))
    assert [moment.block for moment in moments] == [None, None]
    assert can_read_in_workers([Job(Path("a.h5"), awkward)])
    assert not can_read_in_workers([Job(Path("a.h5"), awkward), Job(Path("b.h5"), InMemoryEpisode([]))])


def test_reader_process_that_never_starts_is_replaced_by_inline_reading(setup: Setup) -> None:
    parcel = pack_setup(setup, [Job(Path("a.h5"), SyntheticEpisode("a"))])
    assert parcel is not None
    process = ReaderProcess(setup, parcel[1], PicturePool())
    os.kill(process.pid, signal.SIGKILL)
    wait_until(process._ready.done)
    process.plan(0, SyntheticEpisode("a"))
    assert [moment.block for moment in process.moments_from(0)] == [None] * 6
    process.close()


def test_reading_moves_to_the_process_once_it_is_ready(
    setup: Setup, reader: Callable[..., ReaderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = SyntheticEpisode("a", length=5)
    process = reader(setup, episode)
    answers = iter([False, False, True])  # when it plans, after the first moment, after the second
    monkeypatch.setattr(process, "_is_ready", lambda: next(answers))
    process.plan(0, episode)
    moments = keep_moments(process.moments_from(1))
    assert [moment.block is None for moment in moments] == [True, True, False, False]
    inline = InlineReader(setup)
    inline.plan(0, episode)
    assert_same_moments(keep_moments(inline.moments_from(1)), moments)


@pytest.mark.parametrize(
    ("episode", "sentence"),
    [
        (SyntheticEpisode("a", breaks_at=2), "the video of frame 2 is cut off"),
        (CrashingEpisode("b"), r"reading it failed \(ZeroDivisionError: of the reader\)"),
    ],
)
def test_errors_in_the_reader_process_are_raised(
    setup: Setup, reader: Callable[..., ReaderProcess], episode: SyntheticEpisode, sentence: str
) -> None:
    process = reader(setup, episode, SyntheticEpisode("c", length=1))
    with pytest.raises(UserError, match=f"^{sentence}$"):
        process.plan(0, episode)
        keep_moments(process.moments_from(0))
    process.plan(1, SyntheticEpisode("c", length=1))
    [moment] = process.moments_from(0)  # and it goes on
    assert moment.block is not None
    moment.block.release()
    assert len(process._pool._free) == 64 - (2 if episode.breaks_at else 0)  # but for those that were kept above


def test_dead_reader_process_is_reported(setup: Setup, reader: Callable[..., ReaderProcess]) -> None:
    process = reader(setup, SyntheticEpisode("a"))
    process.plan(0, SyntheticEpisode("a"))
    moments = process.moments_from(0)
    next(moments)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessGoneError, match="the process that reads the episodes has ended"):
        keep_moments(moments)


def test_runs_with_reader_processes_make_the_same_files(
    setup: Setup, tmp_path: Path, reader_processes: list[ReaderProcess]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capture.pipeline.runner.uses_workers", lambda options: False)
        assert run_jobs(setup, make_jobs(tmp_path / "thread"), ProgressLog()).frames == 11
    assert not reader_processes
    assert run_jobs(setup, make_jobs(tmp_path / "apart"), ProgressLog()).frames == 11
    assert len(reader_processes) == 2
    for name in LENGTHS:
        assert_same_results(tmp_path / "thread" / f"{name}.h5", tmp_path / "apart" / f"{name}.h5")


def test_reader_processes_report_a_truncated_video(
    setup: Setup, tmp_path: Path, reader_processes: list[ReaderProcess]
) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    data = tmp_path / "kitchen"
    episode_files.write_lerobot(data, (9, 6, 5), state=("observation.state", 4), action=("action", 4), per_file=1)
    episode_files.truncate(next(iter(sorted(data.glob("videos/*/*/file-001.mp4")))), 0.3)
    source = open_source(data, SourceOptions(("exterior", "wrist"), 6, state_dim=4))
    outcomes = []
    for folder in ("thread", "apart"):
        (tmp_path / folder).mkdir()
        jobs = [Job(tmp_path / folder / f"{episode.name}.h5", episode) for episode in source.episodes]
        with pytest.MonkeyPatch.context() as patch:
            if folder == "thread":
                patch.setattr("capture.pipeline.runner.uses_workers", lambda options: False)
            outcomes.append(run_jobs(setup, jobs, ProgressLog()))
    thread, in_process = outcomes
    assert [written.failure for written in thread.files] == [written.failure for written in in_process.files]
    assert [written.failure is None for written in in_process.files] == [True, False, True]
    for name in ("episode_000000.h5", "episode_000002.h5"):
        assert_same_results(tmp_path / "thread" / name, tmp_path / "apart" / name)


def test_run_resumes_after_its_reader_was_killed(
    setup: Setup, tmp_path: Path, reader_processes: list[ReaderProcess]
) -> None:
    folder = tmp_path / "runs"
    long = [Job(folder / f"{name}.h5", SyntheticEpisode(name, length=14)) for name in "ab"]
    folder.mkdir()
    with pytest.raises(UserError, match="the process that reads the episodes has ended"):
        run_jobs(setup, long, ActAfterFrames(3, lambda: os.kill(reader_processes[0].pid, signal.SIGKILL)))
    outcome = run_jobs(setup, long, ProgressLog())
    assert [(written.failure, written.kept + written.frames) for written in outcome.files] == [(None, 14)] * 2
    assert min(written.kept for written in outcome.files) > 0


def test_picture_blocks_are_returned_to_the_pool(
    setup: Setup, tmp_path: Path, reader_processes: list[ReaderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves: list[PicturePool] = []
    blocks: list[PictureBlock] = []

    class Counted(PicturePool):
        def __init__(self) -> None:
            super().__init__()
            shelves.append(self)

        def take(self, size: int) -> PictureBlock:
            blocks.append(super().take(size))
            return blocks[-1]

        def close(self) -> None:
            assert len(self.buffers) == 1
            assert len(self._free) == 64  # all of them
            super().close()

    monkeypatch.setattr("capture.pipeline.runner.PicturePool", Counted)
    batched = with_options(setup, layers=(0,), batch=2, prompts=Prompts(("go", "stop")))
    long = [Job(tmp_path / f"{name}.h5", SyntheticEpisode(name, length=12)) for name in "abc"]
    assert run_jobs(batched, long, ProgressLog()).frames == 72
    # 4 moments in the queue, one gathered, one called, 3 batches to be delivered and 3 in slots; 2 read ahead, 3 ends
    assert len({block.location.offset for block in blocks}) <= 17
    assert len(blocks) == 3 * 13
    assert shelves[0].buffers == []


def test_picture_block_is_freed_by_its_last_frame() -> None:
    shelf = PicturePool()
    block = shelf.take(1000)
    assert block.size == 1024
    block.hold(2)
    block.release()
    assert block not in shelf._free
    block.release()
    assert shelf._free[-1] is block
    large = shelf.take(3000)  # other pictures: rooms of the old size are used no more
    block.hold(1)
    block.release()
    assert block not in shelf._free
    assert (large.size, len(shelf.buffers)) == (4096, 2)
    shelf.close()
