"""Episodes read by a process of its own: the same pictures, tokens and sentences, and nothing that piles up."""

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
from moments import LENGTHS, ActAfterFrames, ProgressLog, SyntheticEpisode, chosen, jobs, same, small_setup, until

from capture.datasets.base import SourceOptions
from capture.datasets.in_memory import InMemoryEpisode
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.frame_selection import parse_frames
from capture.pipeline.plan import Setup
from capture.pipeline.prompts import Prompts
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


class Crashing(SyntheticEpisode):
    def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
        return ()

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        raise ZeroDivisionError("of the reader")


class Awkward(SyntheticEpisode):
    """Can be packed, but not unpacked."""

    def __setstate__(self, state: object) -> None:
        raise TypeError("not here")


@pytest.fixture(scope="module")
def setup(checkpoint: Path) -> Setup:
    return small_setup(checkpoint)


@pytest.fixture
def reader() -> Iterator[Callable[..., ReaderProcess]]:
    """Makes a reader that has started, of these episodes."""
    made: list[ReaderProcess] = []

    def make(setup: Setup, *episodes: SyntheticEpisode) -> ReaderProcess:
        parcel = pack_setup(setup, [Job(Path(f"{one.name}.h5"), one) for one in episodes])
        assert parcel is not None
        made.append(ReaderProcess(setup, parcel[1], PicturePool()))
        until(made[-1]._ready.done)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[ReaderProcess]:
    """Let runs read and write two files at once with processes, as on a GPU; the readers of the last one."""
    made: list[ReaderProcess] = []

    class Known(ReaderProcess):
        def __init__(self, setup, parcel, shelf) -> None:
            super().__init__(setup, parcel, shelf)
            until(self._ready.done)
            made.append(self)

        def moments_from(self, start: int) -> Iterator[Moment]:
            for moment in super().moments_from(start):
                assert moment.block is not None  # read there, not here
                yield moment

    monkeypatch.setattr("capture.pipeline.runner.uses_workers", lambda options: True)
    monkeypatch.setattr("capture.pipeline.runner.choose_file_count", lambda batch, cores: 2)
    monkeypatch.setattr("capture.pipeline.runner.ReaderProcess", Known)
    return made


def alike(first: list[Moment], second: list[Moment]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for (here, seed), (there, seed_there) in zip(one.frames, other.frames, strict=True):
            assert seed == seed_there
            for field in dataclasses.fields(Observation):
                value, found = getattr(here.observation, field.name), getattr(there.observation, field.name)
                if field.name == "pictures":
                    assert value.keys() == found.keys()
                    assert all(np.array_equal(value[camera], found[camera]) for camera in value)
                else:
                    assert np.array_equal(value, found), field.name
            for field in dataclasses.fields(here.tokens):
                assert np.array_equal(getattr(here.tokens, field.name), getattr(there.tokens, field.name)), field.name
            assert list(here.pictures) == list(there.pictures)
            for camera, picture in here.pictures.items():
                assert np.array_equal(picture.model_u8, there.pictures[camera].model_u8)
                assert torch.equal(picture.pixels, there.pictures[camera].pixels)
                assert picture.letterbox == there.pictures[camera].letterbox
        assert all(frame.pictures is other.frames[0][0].pictures for frame, _ in other.frames)


def kept(moments: Iterator[Moment]) -> list[Moment]:
    """All moments, none released: as many rooms as moments are then taken."""
    return list(moments)


def test_reader_process_reads_the_same_as_inline_reader(setup: Setup, reader: Callable[..., ReaderProcess]) -> None:
    asked = chosen(setup, prompts=Prompts(("{task}", "go", "put the mug down")), frames=parse_frames("::2"))
    first, second = SyntheticEpisode("a"), SyntheticEpisode("b", length=3)
    there, here = reader(asked, first, second), InlineReader(asked)
    for number, episode in ((1, second), (0, first)):
        made, planned = there.plan(number, episode), here.plan(number, episode)
        assert (made.sizes, made.run, made.warnings) == (planned.sizes, planned.run, planned.warnings)
        for start in (0, 4):
            alike(kept(here.moments_from(start)), kept(there.moments_from(start)))


def test_episodes_that_cannot_be_unpickled_are_read_inline(setup: Setup, reader: Callable[..., ReaderProcess]) -> None:
    class Local(SyntheticEpisode):
        pass

    assert pack_setup(setup, [Job(Path("a.h5"), Local())]) is None
    awkward = Awkward("a", length=2)
    there = reader(setup, awkward)
    assert there.plan(0, awkward).sizes.frames == 2
    found = kept(there.moments_from(0))
    assert [moment.block for moment in found] == [None, None]
    assert can_read_in_workers([Job(Path("a.h5"), awkward)])
    assert not can_read_in_workers([Job(Path("a.h5"), awkward), Job(Path("b.h5"), InMemoryEpisode([]))])


def test_reader_process_that_never_starts_is_replaced_by_inline_reading(setup: Setup) -> None:
    parcel = pack_setup(setup, [Job(Path("a.h5"), SyntheticEpisode("a"))])
    assert parcel is not None
    there = ReaderProcess(setup, parcel[1], PicturePool())
    os.kill(there.pid, signal.SIGKILL)
    until(there._ready.done)
    there.plan(0, SyntheticEpisode("a"))
    assert [moment.block for moment in there.moments_from(0)] == [None] * 6
    there.close()


def test_reading_moves_to_the_process_once_it_is_ready(
    setup: Setup, reader: Callable[..., ReaderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = SyntheticEpisode("a", length=5)
    there = reader(setup, episode)
    answers = iter([False, False, True])  # when it plans, after the first moment, after the second
    monkeypatch.setattr(there, "_is_ready", lambda: next(answers))
    there.plan(0, episode)
    found = kept(there.moments_from(1))
    assert [moment.block is None for moment in found] == [True, True, False, False]
    here = InlineReader(setup)
    here.plan(0, episode)
    alike(kept(here.moments_from(1)), found)


@pytest.mark.parametrize(
    ("episode", "sentence"),
    [
        (SyntheticEpisode("a", breaks_at=2), "the video of frame 2 is cut off"),
        (Crashing("b"), r"reading it failed \(ZeroDivisionError: of the reader\)"),
    ],
)
def test_errors_in_the_reader_process_are_raised(
    setup: Setup, reader: Callable[..., ReaderProcess], episode: SyntheticEpisode, sentence: str
) -> None:
    there = reader(setup, episode, SyntheticEpisode("c", length=1))
    with pytest.raises(UserError, match=f"^{sentence}$"):
        there.plan(0, episode)
        kept(there.moments_from(0))
    there.plan(1, SyntheticEpisode("c", length=1))
    [moment] = there.moments_from(0)  # and it goes on
    assert moment.block is not None
    moment.block.release()
    assert len(there._pool._free) == 64 - (2 if episode.breaks_at else 0)  # but for those that were kept above


def test_dead_reader_process_is_reported(setup: Setup, reader: Callable[..., ReaderProcess]) -> None:
    there = reader(setup, SyntheticEpisode("a"))
    there.plan(0, SyntheticEpisode("a"))
    moments = there.moments_from(0)
    next(moments)
    os.kill(there.pid, signal.SIGKILL)
    with pytest.raises(ProcessGoneError, match="the process that reads the episodes has ended"):
        kept(moments)


def test_runs_with_reader_processes_make_the_same_files(
    setup: Setup, tmp_path: Path, apart: list[ReaderProcess]
) -> None:
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr("capture.pipeline.runner.uses_workers", lambda options: False)
        assert run_jobs(setup, jobs(tmp_path / "thread"), ProgressLog()).frames == 11
    assert not apart
    assert run_jobs(setup, jobs(tmp_path / "apart"), ProgressLog()).frames == 11
    assert len(apart) == 2
    for name in LENGTHS:
        same(tmp_path / "thread" / f"{name}.h5", tmp_path / "apart" / f"{name}.h5")


def test_reader_processes_report_a_truncated_video(setup: Setup, tmp_path: Path, apart: list[ReaderProcess]) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    data = tmp_path / "kitchen"
    episode_files.write_lerobot(data, (9, 6, 5), state=("observation.state", 4), action=("action", 4), per_file=1)
    episode_files.cut(next(iter(sorted(data.glob("videos/*/*/file-001.mp4")))), 0.3)
    source = open_source(data, SourceOptions(("exterior", "wrist"), 6, state_dim=4))
    outcomes = []
    for folder in ("thread", "apart"):
        (tmp_path / folder).mkdir()
        asked = [Job(tmp_path / folder / f"{one.name}.h5", one) for one in source.episodes]
        with pytest.MonkeyPatch.context() as plain:
            if folder == "thread":
                plain.setattr("capture.pipeline.runner.uses_workers", lambda options: False)
            outcomes.append(run_jobs(setup, asked, ProgressLog()))
    thread, there = outcomes
    assert [written.failure for written in thread.files] == [written.failure for written in there.files]
    assert [written.failure is None for written in there.files] == [True, False, True]
    for name in ("episode_000000.h5", "episode_000002.h5"):
        same(tmp_path / "thread" / name, tmp_path / "apart" / name)


def test_run_resumes_after_its_reader_was_killed(setup: Setup, tmp_path: Path, apart: list[ReaderProcess]) -> None:
    folder = tmp_path / "runs"
    long = [Job(folder / f"{name}.h5", SyntheticEpisode(name, length=14)) for name in "ab"]
    folder.mkdir()
    with pytest.raises(UserError, match="the process that reads the episodes has ended"):
        run_jobs(setup, long, ActAfterFrames(3, lambda: os.kill(apart[0].pid, signal.SIGKILL)))
    outcome = run_jobs(setup, long, ProgressLog())
    assert [(written.failure, written.kept + written.frames) for written in outcome.files] == [(None, 14)] * 2
    assert min(written.kept for written in outcome.files) > 0


def test_picture_blocks_are_returned_to_the_pool(
    setup: Setup, tmp_path: Path, apart: list[ReaderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves: list[PicturePool] = []
    taken: list[PictureBlock] = []

    class Counted(PicturePool):
        def __init__(self) -> None:
            super().__init__()
            shelves.append(self)

        def take(self, size: int) -> PictureBlock:
            taken.append(super().take(size))
            return taken[-1]

        def close(self) -> None:
            assert len(self.buffers) == 1
            assert len(self._free) == 64  # all of them
            super().close()

    monkeypatch.setattr("capture.pipeline.runner.PicturePool", Counted)
    asked = chosen(setup, layers=(0,), batch=2, prompts=Prompts(("go", "stop")))
    long = [Job(tmp_path / f"{name}.h5", SyntheticEpisode(name, length=12)) for name in "abc"]
    assert run_jobs(asked, long, ProgressLog()).frames == 72
    # 4 moments in the queue, one gathered, one called, 3 batches to be delivered and 3 in slots; 2 read ahead, 3 ends
    assert len({room.location.offset for room in taken}) <= 17
    assert len(taken) == 3 * 13
    assert shelves[0].buffers == []


def test_picture_block_is_freed_by_its_last_frame() -> None:
    shelf = PicturePool()
    room = shelf.take(1000)
    assert room.size == 1024
    room.hold(2)
    room.release()
    assert room not in shelf._free
    room.release()
    assert shelf._free[-1] is room
    large = shelf.take(3000)  # other pictures: rooms of the old size are used no more
    room.hold(1)
    room.release()
    assert room not in shelf._free
    assert (large.size, len(shelf.buffers)) == (4096, 2)
    shelf.close()
