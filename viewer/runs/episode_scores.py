"""Scores of one subject in the frames of one results file. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from capture.results import schema
from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.regions.regions_reading import read_checked_regions
from viewer.analysis.scores import SCORES
from viewer.errors import MissingWordError, UserError
from viewer.model.number_ranges import parse_range
from viewer.model.view_state import Query
from viewer.regions.boxes import parse_region
from viewer.regions.in_frames import find_cells, is_box
from viewer.runs.named_object import NamedObjects, read_objects
from viewer.runs.query import ALL_ACTIONS, RUN_SCORES, Subject
from viewer.runs.summary_files import find_regions_path
from viewer.runs.words import find_query_of_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capture.remote.address import Location
    from viewer.analysis.scores import Score
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell
    from viewer.regions.region import RegionSet


def find_scores(subject: Subject) -> tuple[Score, ...]:
    """Return the scores that a subject can have."""
    scores = [SCORES[name] for name in RUN_SCORES]
    return tuple(
        score
        for score in scores
        if (subject.region or not score.needs_region) and (subject.actions or "steps" not in score.needs)
    )


@dataclass(frozen=True)
class EpisodeScores:
    """Reads the scores of one subject from an open results file, frame by frame."""

    results: Results
    subject: Subject
    objects: NamedObjects
    """What `{object}` stands for."""
    regions: RegionSet | None
    """The named regions of the file; None where it has none."""

    @classmethod
    def prepare(cls, results: Results, file: Location, subject: Subject, objects: Path | None) -> EpisodeScores:
        """Return the reader for an open file; `objects` is the file that says what `{object}` stands for.

        Raises:
            UserError: The file of regions or of objects cannot be read.
        """
        path = find_regions_path(file)
        regions = read_checked_regions(path, results) if path is not None and path.exists() else None
        names = tuple(regions.regions) if regions is not None else results.regions
        return cls(results, subject, read_objects(objects, names), regions)

    def read_frame(self, frame: int, scores: Iterable[Score], cell: tuple[int, int] | None = None) -> dict[str, Floats]:
        """Return scores of a frame by name, (layers, steps, heads) each; those of a region are left out without it.

        `cell`: the places of one layer and one head; None for all.

        Raises:
            MissingWordError: The prompt lacks the words, or names no object.
            UserError: The frame cannot be read.
        """
        query = self.find_query(frame)
        region = self.find_region(frame)
        layers, heads = ([cell[0]], [cell[1]]) if cell is not None else (None, None)
        attention = QueryAttention(self.results, frame, query, region or (), layers=layers, heads=heads)
        scores_by_name, problem = {}, None
        for score in scores:
            if region is not None or not score.needs_region:
                try:
                    scores_by_name[score.name] = score.compute(attention)
                except UserError as error:  # of a file without maps, which has some scores
                    problem = problem or error
        if problem is not None and not scores_by_name:
            raise problem
        return scores_by_name

    def find_query(self, frame: int) -> Query:
        """Return the words or actions of the subject in a frame; MissingWordError where it lacks them."""
        subject = self.subject
        if not subject.actions:
            return find_query_of_words(self.results, frame, self._fill_object(subject.words, frame))
        horizon = self.results.horizon
        if subject.actions == ALL_ACTIONS:
            numbers = set(range(horizon))
        else:
            ends = [parse_range(part) or (0, -1) for part in subject.actions.replace(",", " ").split()]
            numbers = {number for first, last in ends for number in range(first, min(last, horizon) + 1)}
        if not numbers or max(numbers) >= horizon:
            raise MissingWordError(f"The file has no {subject.title}, but actions 0 to {horizon - 1}.")
        return Query("action", tuple(sorted(numbers)))

    def name_region(self, frame: int) -> str:
        """Return the name of the region in a frame: its own, or that of the object which the prompt names."""
        return self._fill_object(self.subject.region, frame)

    def find_region(self, frame: int) -> tuple[Cell, ...] | None:
        """Return the patches of the region in a frame; None where it is not known."""
        texts = self.subject.region.split() if is_box(self.subject.region) else [self.subject.region]
        if not self.subject.region:
            return None
        if is_box(self.subject.region):
            return parse_region(self.results, texts)
        try:
            name = self._fill_object(self.subject.region, frame)
        except MissingWordError:
            return None
        if self.regions is None:  # those that were scored while capturing
            names = self.results.regions
            return self.results.region_cells(frame, names.index(name)) if name in names else None
        region = self.regions.regions.get(name)
        return None if region is None else find_cells(region, self.results, frame)

    def _fill_object(self, text: str, frame: int) -> str:
        return self.objects.fill(text, self.results.string(schema.FRAMES_PROMPT, frame))


def average_steps(values: Floats) -> Floats:
    """Return the mean over the denoise steps that have a value: (layers, steps, heads) to (layers, heads)."""
    defined = np.isfinite(values)
    count = defined.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(defined, values, 0).sum(1) / np.where(count > 0, count, np.nan)
    return mean


def check_subject(subject: Subject) -> None:
    """Raise UserError for a subject that no file can have."""
    if not subject.words.strip() and not subject.actions:
        raise UserError("Name words or actions whose attention is to be summarised.")
