"""Scores of one episode as means over the parts of its time: what a summary of a run keeps of it. No Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema
from viewer.analysis.probe import create_early_probe
from viewer.errors import READ_ERRORS, MissingWordError, UserError
from viewer.io.results import Results
from viewer.runs.episode_scores import EpisodeScores, average_steps, find_scores
from viewer.runs.parts import find_times
from viewer.runs.summary_files import MAX_AXIS, MAX_EPISODE_PROMPTS, MAX_PROMPT, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from capture.remote.address import Location
    from viewer.runs.query import Subject

MAX_NUMBERS: Final = 10_000_000
"""Parts × passes × layers × heads of an episode."""
Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PromptParts:
    """Sums over the frames of an episode with one prompt."""

    prompt: str
    first: npt.NDArray[np.int64]
    """(parts,): first frame of each part by the file's number; -1 where it has none."""
    last: npt.NDArray[np.int64]
    total: dict[str, Doubles]
    """Score -> (parts, passes, layers, heads): sums over frames; passes are the mean of all steps, then each step."""
    frames: dict[str, Counts]
    """Score -> frames behind each sum."""


@dataclass(frozen=True, eq=False)
class EpisodeParts:
    """What a summary keeps of one episode."""

    layers: tuple[int, ...]
    heads: int
    steps: tuple[int, ...]
    """Numbers of the denoise steps; empty for words."""
    frames: int
    prompts: tuple[PromptParts, ...]
    """Those with a value; none if no frame has what is asked for."""
    reason: str = ""
    """Why there is none."""
    is_damaged: bool = False


def read_episode(
    file: Location, subjects: Sequence[tuple[Subject, Path | None]], check: Callable[[], object] = lambda: None
) -> list[EpisodeParts]:
    """Return the sums of an episode for each subject, with the file that says what `{object}` stands for in it.

    `check` is called before each frame and may raise to give up.
    """
    problem = find_problem(file)
    if problem:
        return [_nothing(problem, is_damaged=True)] * len(subjects)
    try:
        results = Results(file)
    except UserError as error:
        return [_nothing(str(error), is_damaged=True)] * len(subjects)
    try:
        return [_read_subject(results, file, subject, objects, check) for subject, objects in subjects]
    finally:
        results.close()


def _read_subject(
    results: Results, file: Location, subject: Subject, objects: Path | None, check: Callable[[], object]
) -> EpisodeParts:
    try:
        return _read(results, EpisodeScores.prepare(results, file, subject, objects), check)
    except UserError as error:
        return _nothing(str(error), is_damaged=True)
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())[:120].strip("'")
        return _nothing(f"{file.name} cannot be read ({reason}); copy it again, or record it again.", is_damaged=True)


def find_problem(file: Location) -> str:
    """Return why a file cannot be read, found by a process that may crash or hang on it; empty if it can."""
    probe = create_early_probe(file)
    try:
        return probe.wait()
    finally:
        probe.stop()


def _nothing(reason: str, *, is_damaged: bool = False) -> EpisodeParts:
    return EpisodeParts((), 0, (), 0, (), reason, is_damaged)


def _read(results: Results, reader: EpisodeScores, check: Callable[[], object]) -> EpisodeParts:
    scores = find_scores(reader.subject)
    steps = results.steps if reader.subject.actions else ()
    shape = (PARTS, 1 + len(steps), len(results.layers), results.heads)
    if max(results.layers, default=0) > MAX_AXIS or max(steps, default=0) > MAX_AXIS or math.prod(shape) > MAX_NUMBERS:
        return _nothing("It has more layers, heads and denoise steps than a summary holds.")
    parts = np.minimum((find_times(results) * PARTS + 1e-9).astype(np.int64), PARTS - 1)
    parts_by_prompt: dict[str, PromptParts] = {}
    missing = ""
    for frame in range(results.done):
        check()
        try:
            values = reader.read_frame(frame, scores)
        except MissingWordError as error:
            missing = missing or str(error)
            continue
        prompt = results.string(schema.FRAMES_PROMPT, frame)[:MAX_PROMPT]
        if prompt not in parts_by_prompt and len(parts_by_prompt) == MAX_EPISODE_PROMPTS:
            return _nothing(f"It has more than {MAX_EPISODE_PROMPTS} prompts.")
        if prompt not in parts_by_prompt:
            unknown = np.full(PARTS, -1, np.int64)
            sums = {score.name: np.zeros(shape) for score in scores}
            counts = {score.name: np.zeros(shape, np.int32) for score in scores}
            parts_by_prompt[prompt] = PromptParts(prompt, unknown, unknown.copy(), sums, counts)
        prompt_parts, part = parts_by_prompt[prompt], int(parts[frame])
        prompt_parts.first[part] = frame if prompt_parts.first[part] < 0 else prompt_parts.first[part]
        prompt_parts.last[part] = frame
        for name, value in values.items():
            _add_scores(prompt_parts.total[name][part], prompt_parts.frames[name][part], value)
    with_values = tuple(
        passed for passed in parts_by_prompt.values() if any(count.any() for count in passed.frames.values())
    )
    reason = "" if with_values else missing or "No frame of it has a value."
    return EpisodeParts(tuple(results.layers), results.heads, tuple(steps), results.done, with_values, reason)


def _add_scores(total: Doubles, frames: Counts, value: npt.NDArray[Any]) -> None:
    """Add a frame's scores, (layers, steps, heads), to sums of (passes, layers, heads)."""
    mean = average_steps(value)
    passes = [mean]
    if len(total) > 1 and value.shape[1] == len(total) - 1:
        passes += list(value.transpose(1, 0, 2))
    for place, values in enumerate(passes):
        defined = np.isfinite(values)
        total[place] += np.where(defined, values, 0)
        frames[place] += defined
