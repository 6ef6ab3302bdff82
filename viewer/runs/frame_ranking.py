"""The frames of one episode by their value for one head, read from its results file. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from capture.results import schema
from viewer.analysis.scores import find_score
from viewer.errors import MissingWordError, UserError
from viewer.io import run_index
from viewer.io.results import Results
from viewer.runs.answers import FrameRanking, FrameValue
from viewer.runs.episode_scores import EpisodeScores, average_steps
from viewer.runs.parts import find_times
from viewer.runs.summary_files import PARTS, find_objects_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from viewer.io.run_index import Run
    from viewer.runs.query import RunQuery


def rank_frames(
    run: Run,
    query: RunQuery,
    file: str,
    layer: int,
    head: int,
    *,
    objects: Path | None = None,
    check: Callable[[], object] = lambda: None,
) -> FrameRanking:
    """Return the values of one head in the frames of an episode that the query counts.

    It reads one layer of each frame, which for all actions of a full-size file takes seconds: for another thread.

    Args:
        run: The run.
        query: What is asked.
        file: The episode's file inside the run's folder, as `EpisodeValue.file` has it.
        layer: The layer's number.
        head: The head, from 0.
        objects: As for `summary_process.command`.
        check: Called before each frame; may raise to give up.

    Raises:
        UserError: There is no such episode or head, or it cannot be read.
    """
    episode = next((episode for episode in run.episodes if episode.file == file), None)
    if episode is None:
        raise UserError(f"The run has no episode {file[:100]}.")
    path = run_index.find_episode_path(run, episode)
    results = Results(path)
    try:
        if layer not in results.layers or not 0 <= head < results.heads:
            raise UserError(f"{episode.name} has no head {head} in layer {layer}.")
        reader = EpisodeScores.prepare(results, path, query.subject, objects or find_objects_file(run, query.subject))
        place = results.layers.index(layer), head
        score = find_score(query.score)
        ranked = []
        for frame, time in enumerate(find_times(results)):
            if not _is_counted(query, results, frame, float(time)):
                continue
            check()
            try:
                values = reader.read_frame(frame, [score], place).get(score.name)
            except MissingWordError:
                continue
            value = np.nan if values is None else _at_step(values, results, query)
            if np.isfinite(value):
                ranked.append(FrameValue(frame, float(value)))
        return FrameRanking(file, tuple(ranked))
    finally:
        results.close()


def _is_counted(query: RunQuery, results: Results, frame: int, time: float) -> bool:
    if query.frames is not None and not query.frames[0] <= frame <= query.frames[1]:
        return False
    middle = (np.floor(time * PARTS) + 0.5) / PARTS
    if not query.times[0] - 1e-9 <= middle <= query.times[1] + 1e-9:
        return False
    return not query.prompts or results.string(schema.FRAMES_PROMPT, frame) in query.prompts


def _at_step(values: np.ndarray, results: Results, query: RunQuery) -> float:
    """Return the value of a head, (1, steps, 1), at the query's step or as the mean of all."""
    if values.shape[1] > 1 and query.step is not None:
        return float(values[0, results.steps.index(query.step), 0]) if query.step in results.steps else float("nan")
    return float(average_steps(values)[0, 0])
