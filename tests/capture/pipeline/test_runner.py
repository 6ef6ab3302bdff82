"""A run from its jobs to its files: what is written, failed and skipped episodes, and bounded memory."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from small_policy import make_observation
from synthetic_episodes import ProgressLog, SyntheticEpisode, small_setup, with_options

from capture.datasets.in_memory import InMemoryEpisode
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline import collector
from capture.pipeline.collector import Collector
from capture.pipeline.planning.frame_selection import parse_frames
from capture.pipeline.planning.plan import make_plan
from capture.pipeline.planning.prompts import Prompts
from capture.pipeline.planning.setup import Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job
from capture.provenance import Decision
from capture.results import schema


@pytest.fixture(scope="module")
def setup(checkpoint: Path) -> Setup:
    return small_setup(checkpoint)


def read_values(path: Path, *names: str) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        frame_names = [] if names else list(file["frames"])
        return {name: file[name][...] for name in names or [f"frames/{name}" for name in frame_names]}


LARGE = (schema.ACTION_TO_IMAGE, schema.TEXT_TO_TEXT, schema.ACTION_PREDICTED, schema.source_name("wrist"))


def test_run_stores_frames_prompts_seeds_and_true_actions(setup: Setup, tmp_path: Path) -> None:
    selection = with_options(
        setup, frames=parse_frames("1::2"), prompts=Prompts(("{task}", "put the mug down")), batch=4, seed=10
    )
    progress = ProgressLog()
    outcome = run_jobs(selection, [Job(tmp_path / "a.h5", SyntheticEpisode())], progress)
    [written] = outcome.files
    assert (written.failure, written.frames, written.total, written.kept, written.skipped) == (None, 6, 6, 0, False)
    assert outcome.frames == progress.expected == 6
    assert progress.steps[-1] == 6
    assert progress.steps == sorted(progress.steps)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file[schema.FRAMES_INDEX][...].tolist() == [1, 1, 3, 3, 5, 5]
        assert file[schema.FRAMES_SEED][...].tolist() == [11, 11, 13, 13, 15, 15]
        assert file[schema.FRAMES_PROMPT].asstr()[...].tolist() == ["pick up the red block", "put the mug down"] * 3
        assert file[schema.ACTION_TRUTH][:, 0, 0].tolist() == [1, 1, 3, 3, 5, 5]
        noise, shown = file[schema.FRAMES_NOISE][...], file[schema.source_name("wrist")][...]
        assert np.array_equal(noise[0], noise[1])
        assert not np.array_equal(noise[0], noise[2])
        assert np.array_equal(shown[2], shown[3])
        assert set(file[schema.FRAMES_EPISODE].asstr()[...]) == {"episode_000003"}


def test_batched_run_equals_single_calls(setup: Setup, tmp_path: Path) -> None:
    prompts = Prompts(("{task}", "go"))
    for batch in (1, 4):
        jobs = [Job(tmp_path / f"{batch}{name}.h5", SyntheticEpisode(name, length=3)) for name in "ab"]
        assert run_jobs(with_options(setup, batch=batch, prompts=prompts), jobs, ProgressLog()).frames == 12
    for name in "ab":
        single, batched = (read_values(tmp_path / f"{batch}{name}.h5", *LARGE, schema.TEXT_MASS) for batch in (1, 4))
        for dataset, value in single.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(batched[dataset], value, rtol=1e-5, atol=1e-4, err_msg=dataset)
            else:
                assert np.array_equal(batched[dataset], value)


def test_failing_episode_keeps_its_frames_and_fails_alone(setup: Setup, tmp_path: Path) -> None:
    noted = []
    jobs = [
        Job(tmp_path / "a.h5", SyntheticEpisode("a", breaks_at=2)),
        Job(tmp_path / "b.h5", SyntheticEpisode("b", breaks_at=0)),
        Job(tmp_path / "c.h5", InMemoryEpisode([make_observation(), make_observation()])),
    ]
    outcome = run_jobs(
        with_options(setup, batch=2), jobs, ProgressLog(), lambda written: noted.append(written.path.name)
    )
    first, second, third = outcome.files
    assert first.failure == (
        f"the video of frame 2 is cut off; finished frames (2) stay in {tmp_path / 'a.h5.partial'}"
    )
    assert second.failure == "the video of frame 0 is cut off"
    assert third.failure is None
    assert sorted(noted) == ["a.h5", "b.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5.partial", "c.h5"]
    mended = run_jobs(with_options(setup, batch=2), [Job(tmp_path / "a.h5", SyntheticEpisode("a"))], ProgressLog())
    assert (mended.files[0].kept, mended.files[0].frames, mended.files[0].failure) == (2, 4, None)


def test_unexpected_reader_error_is_a_failure(setup: Setup, tmp_path: Path) -> None:
    class Crashing(SyntheticEpisode):
        def frame_decisions(self, frames: Sequence[int]) -> tuple[Decision, ...]:
            return ()

        def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
            raise ZeroDivisionError("of the reader")

    outcome = run_jobs(
        setup, [Job(tmp_path / "a.h5", Crashing()), Job(tmp_path / "b.h5", SyntheticEpisode(length=1))], ProgressLog()
    )
    assert outcome.files[0].failure == "reading it failed (ZeroDivisionError: of the reader)"
    assert outcome.files[1].failure is None


def test_same_run_again_skips_finished_files(setup: Setup, tmp_path: Path) -> None:
    job = Job(tmp_path / "a.h5", SyntheticEpisode(length=2))
    run_jobs(setup, [job], ProgressLog())
    before = job.path.read_bytes()
    progress = ProgressLog()
    outcome = run_jobs(setup, [job], progress)
    assert outcome.files[0].skipped
    assert progress.sentences == [f"{job.path} is finished already; it is left as it is"]
    assert job.path.read_bytes() == before
    changed = run_jobs(with_options(setup, seed=1), [job], ProgressLog())
    assert "is of another run: --seed was 0 and is now 1" in str(changed.files[0].failure)
    assert job.path.read_bytes() == before
    second = run_jobs(with_options(setup, seed=1, overwrite=True), [job], ProgressLog())
    assert second.files[0].failure is None
    assert read_values(job.path)["frames/seed"].tolist() == [1, 2]


def test_file_finished_by_another_process_is_skipped(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path / "a.h5", SyntheticEpisode(length=2))
    run_jobs(setup, [job], ProgressLog())
    before = job.path.read_bytes()
    answers = iter([False, True])  # not there yet when first looked for
    monkeypatch.setattr("capture.pipeline.scheduler.is_finished", lambda path, run: next(answers))
    outcome = run_jobs(setup, [job], ProgressLog())
    assert outcome.files[0].failure is None
    assert outcome.files[0].skipped
    assert job.path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights": "others"}, "the checkpoint's weights changed"),
        ({"choices": {"layers": (0,)}}, "--layers was 0,2 and is now 0"),
        ({"choices": {"frames": parse_frames(":3")}}, "the number of frames was 6 and is now 3"),
        ({"choices": {"frames": parse_frames("0,1,2,3,4"), "prompts": Prompts(("go",))}}, "the number of frames"),
        ({"choices": {"prompts": Prompts(("go",))}}, "--frames, or the episode's states, prompts or true actions"),
        ({"choices": {"store": "bfloat16"}}, "--store was float32 and is now bfloat16"),
    ],
)
def test_partial_file_of_another_run_is_not_resumed(setup: Setup, tmp_path: Path, change: dict, sentence: str) -> None:
    run_jobs(setup, [Job(tmp_path / "a.h5", SyntheticEpisode(breaks_at=3))], ProgressLog())
    partial = tmp_path / "a.h5.partial"
    before = partial.read_bytes()
    changed = replace(setup, weights=change.get("weights", setup.weights))
    outcome = run_jobs(
        with_options(changed, **change.get("choices", {})), [Job(tmp_path / "a.h5", SyntheticEpisode())], ProgressLog()
    )
    assert sentence in str(outcome.files[0].failure)
    assert partial.read_bytes() == before


def test_resume_notices_changed_states_and_pictures(setup: Setup) -> None:
    first = make_plan(setup, SyntheticEpisode()).run
    assert make_plan(setup, SyntheticEpisode()).run == first
    moved = SyntheticEpisode()
    moved.read_without_pictures = lambda frames: (
        replace(picture, state=picture.state + 1e-9) for picture in SyntheticEpisode().read_without_pictures(frames)
    )
    assert make_plan(setup, moved).run != first
    shown = make_observation()
    darker = replace(shown, pictures={name: picture // 2 for name, picture in shown.pictures.items()})
    assert make_plan(setup, InMemoryEpisode([shown])).run != make_plan(setup, InMemoryEpisode([darker])).run


def test_resume_within_the_prompts_of_a_moment(setup: Setup, tmp_path: Path) -> None:
    with_prompts = with_options(setup, prompts=Prompts(("{task}", "go", "put the mug down")))
    plan = make_plan(with_prompts, SyntheticEpisode(length=3))

    def told(start: int) -> list[tuple[int, str, int]]:
        moments = list(plan.moments_from(start))
        assert all(call.pictures is moment[0][0].pictures for moment in moments for call, _ in moment)
        return [(call.observation.index, call.observation.prompt, seed) for moment in moments for call, seed in moment]

    all_calls = told(0)
    assert len(all_calls) == 9
    for start in range(len(all_calls)):
        rest = told(start)
        assert rest == all_calls[start:]


def test_run_holds_few_pictures_at_a_time(setup: Setup, tmp_path: Path) -> None:
    episode = SyntheticEpisode(length=60)
    batched = with_options(setup, layers=(0,), batch=2)
    gc.collect()
    outcome = run_jobs(batched, [Job(tmp_path / "a.h5", episode)], ProgressLog())
    assert outcome.frames == 60
    # 6 in the queue, 2 being gathered, 2 called, 3 batches to be delivered, 4 frames to be written; two pictures each.
    assert episode.max_alive <= 2 * 24


def test_empty_prompt_gives_a_warning(setup: Setup, tmp_path: Path) -> None:
    progress = ProgressLog()
    run_jobs(
        with_options(setup, prompts=Prompts(("  ",))), [Job(tmp_path / "a.h5", SyntheticEpisode(length=1))], progress
    )
    assert any("the prompt is empty" in sentence for sentence in progress.sentences)


def test_warnings_repeated_over_frames_are_merged(setup: Setup) -> None:
    many = with_options(setup, prompts=Prompts((" ", "go")), frames=parse_frames("0:3"))
    [sentence] = make_plan(many, SyntheticEpisode(length=6)).warnings
    assert "frame 0 of " in sentence
    assert sentence.endswith("the prompt is empty, which the policy was not trained with (and so in 2 frames more)")


def test_checks_hold_the_first_checked_frame_and_the_speed(setup: Setup, tmp_path: Path) -> None:
    import json

    run_jobs(setup, [Job(tmp_path / "a.h5", SyntheticEpisode(breaks_at=2))], ProgressLog())
    run_jobs(with_options(setup), [Job(tmp_path / "a.h5", SyntheticEpisode())], ProgressLog())
    with h5py.File(tmp_path / "a.h5") as file:
        checks = json.loads(file.attrs["checks"])
    assert checks[schema.CHECK_SINCE] == 2
    assert 0 < checks[schema.CHECK_ROW_SUM] < 1e-5
    assert checks[schema.CHECK_SECONDS] > 0


def test_frames_beyond_the_kept_tables_are_tokenised_again(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(setup, SyntheticEpisode(length=5))
    monkeypatch.setattr("capture.pipeline.planning.plan.KEPT_TABLES", 2)
    short = make_plan(setup, SyntheticEpisode(length=5))
    assert (len(plan.tables), len(short.tables)) == (5, 2)
    for start in (0, 1, 3):
        pairs = zip(plan.moments_from(start), short.moments_from(start), strict=True)
        for [(first, seed)], [(second, other_seed)] in pairs:
            assert first.tokens.text == second.tokens.text
            assert np.array_equal(first.tokens.ids, second.tokens.ids)
            assert seed == other_seed


@pytest.mark.parametrize(
    ("where", "choices", "advice"),
    [
        (
            "capture.policies.pi05.policy.Pi05Policy.recorder",
            {"batch": 4},
            "1 frame at once; free its memory, or give another --device",
        ),
        (
            "capture.policies.pi05.policy.Pi05Policy.run",
            {},
            "1 frame at once; free its memory, or give another --device",
        ),
        (
            "capture.policies.pi05.policy.Pi05Policy.plain",
            {"check": True, "batch": 2},
            "2 frames at once; give a smaller --batch",
        ),
        (
            "capture.pipeline.policy_calls.compute_datasets",
            {"workers": 1, "batch": 2},
            "2 frames at once; give a smaller --batch",
        ),
    ],
)
def test_device_out_of_memory_gives_one_sentence(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, choices: dict, advice: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(where, full)
    with pytest.raises(UserError) as error:
        run_jobs(with_options(setup, **choices), [Job(tmp_path / "a.h5", SyntheticEpisode())], ProgressLog())
    assert str(error.value) == f"the device has no room to run {advice}"
    assert not list(tmp_path.iterdir())


def test_ctrl_c_during_the_last_frames_waits_for_them(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python aborts where it exits while a thread is in torch."""
    finishing, main = threading.Event(), threading.main_thread().ident
    finish, to_host_arrays = Collector.finish, collector.to_host_arrays
    assert main is not None

    def finish_told(self: Collector) -> None:
        finishing.set()
        finish(self)

    def interrupted(results):
        assert finishing.wait(60)
        signal.pthread_kill(main, signal.SIGINT)
        return to_host_arrays(results)

    monkeypatch.setattr(Collector, "finish", finish_told)
    monkeypatch.setattr(collector, "to_host_arrays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(setup, [Job(tmp_path / "a.h5", SyntheticEpisode(length=1))], ProgressLog())
    assert not {"collector", "feed"} & {thread.name for thread in threading.enumerate()}
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["complete"]
        assert int(file[schema.FRAMES_DONE][()]) == 1
