"""The summary of a run for one subject, and answers out of it. No Qt."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from viewer.analysis.scores import find_score
from viewer.errors import UserError
from viewer.io import run_index
from viewer.runs import part_table, statistics
from viewer.runs.answers import (
    Contrast,
    Distribution,
    EpisodeValue,
    GroupAtlas,
    GroupCurve,
    RunAtlas,
    RunCurve,
    describe_counted,
)
from viewer.runs.database import CLOSED, Database
from viewer.runs.part_table import count_parts, find_parts
from viewer.runs.summary_files import LIST_NAME, PARTS, WHOLE, find_data, find_list, list_done, read_state

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.run_index import Run
    from viewer.runs.part_table import PartTable
    from viewer.runs.query import RunQuery, Subject
    from viewer.runs.summary_files import SummaryList, SummaryState

Doubles = npt.NDArray[np.float64]

ALL: Final = "all"
UNKNOWN: Final = "unknown"
MAX_CACHED_BYTES: Final = 64 << 20
MOST_GROUPS: Final = 12
"""Groups by prompt that an answer has; the others are left out, which a note mentions."""


@dataclass(frozen=True, eq=False)
class _Values:
    """Sums over frames of one score: (units, cells), where a unit is an episode with one prompt."""

    episode: npt.NDArray[np.int64]
    """(units,): place in `RunSummary.episodes`."""
    prompt: npt.NDArray[np.int64]
    """(units,): place in `RunSummary.prompts`."""
    total: Doubles
    frames: npt.NDArray[np.int64]
    """Frames behind each sum."""

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        return self.episode.nbytes + self.prompt.nbytes + self.total.nbytes + self.frames.nbytes

    def merged(self, parts: int) -> _Values:
        """Return the values of parts of an episode as those of fewer parts, neighbours together."""
        shape = (len(self.episode), parts, self.frames.shape[1] // parts)
        return _Values(self.episode, self.prompt, self.total.reshape(shape).sum(-1), self.frames.reshape(shape).sum(-1))


@dataclass(frozen=True, eq=False)
class _Group:
    name: str
    values: Doubles
    """(episodes, cells): each episode's mean; NaN without a value."""
    frames: npt.NDArray[np.int64]
    """(episodes, cells)"""
    places: npt.NDArray[np.int64]
    """(episodes,): places in `RunSummary.episodes`."""


class RunSummary:
    """Answers queries about one subject from the summary on the disk. Any thread may ask it."""

    def __init__(self, run: Run, folder: Path, listed: SummaryList) -> None:
        self.run, self.folder, self._list = run, folder, listed
        by_file = {episode.file: episode for episode in list_done(run) if episode.file in listed.episodes}
        read = [listed.episodes[file] for file in by_file]
        self._files = find_data(folder, {episode.data for episode in read if episode.data})
        self._missing = {episode.data for episode in read if episode.data} - {path.name for path in self._files}
        members = [episode for episode in read if episode.data and episode.data not in self._missing]
        self.episodes: tuple[run_index.Episode, ...] = tuple(by_file[episode.file] for episode in members)
        """Finished episodes with numbers, in the run's order, which decides what a bootstrap draws."""
        self.left_out = tuple(episode for episode in read if not episode.data)
        """Finished episodes without numbers, and why."""
        self.prompts = listed.prompts
        """Prompts of these episodes."""
        self.layers, self.heads, self.steps = listed.layers, listed.heads, listed.steps
        self._outcomes = np.array([run_index.outcome(episode) for episode in self.episodes], dtype=object)
        self._place_of = np.full(max(listed.next_number, 1), -1, np.int64)
        for place, member in enumerate(members):
            if member.number < len(self._place_of):
                self._place_of[member.number] = place
        self._database: Database | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[object, ...], _Values] = OrderedDict()
        self._part_table: tuple[tuple[str, int], PartTable | None] | None = None  # of a score and step

    @classmethod
    def open(cls, run: Run, subject: Subject) -> Self | None:
        """Open the summary of a subject; None if `SummaryBuilder` has not made it yet."""
        folder_and_list = find_list(run, subject)
        return None if folder_and_list is None else cls(run, *folder_and_list)

    def close(self) -> None:
        """Free the database, also while it answers: the answer is then a UserError."""
        with self._lock:
            self._is_closed = True
            if self._database is not None:
                self._database.close()
                self._database = None
            self._part_table = None

    def forget(self) -> None:
        """Close it and delete its list of episodes, so that the next update makes it anew from the results files."""
        self.close()
        with contextlib.suppress(OSError):  # the update then says why it cannot be written
            (self.folder / LIST_NAME).unlink(missing_ok=True)

    @property
    def state(self) -> SummaryState:
        """How much of the run it holds."""
        return read_state(self.run, self._list.subject, self._list, self._missing)

    def atlas(self, query: RunQuery) -> RunAtlas:
        """Return the answer for every head.

        Raises:
            UserError: The query cannot be answered, or the summary cannot be read.
        """
        everything, groups = self._choose_groups(query, self._find_values(query))
        contrast = None
        if len(groups) == 2:
            first, second = groups
            test = statistics.compare_groups(first.values, second.values)
            fields = (test.difference, test.low, test.high, test.effect, test.p, test.q)
            contrast = Contrast(first.name, second.name, *map(self._as_heads, fields))
        return RunAtlas(
            query,
            self.layers,
            self.heads,
            self._describe_group(everything),
            tuple(self._describe_group(group) for group in groups),
            contrast,
            describe_counted(query, everything.values, len(self.episodes), self.left_out, self.steps),
        )

    def distribution(self, query: RunQuery, layer: int, head: int) -> Distribution:
        """Return each episode's value for one head; `layer` by the policy's number.

        Raises:
            UserError: As `atlas`, or there is no such head.
        """
        cell = self._find_cell(layer, head)
        everything, groups = self._choose_groups(query, self._find_values(query))
        episodes = []
        for group in groups or [everything]:
            column, frames = group.values[:, cell], group.frames[:, cell]
            for place in np.flatnonzero(np.isfinite(column)).tolist():
                episode = self.episodes[group.places[place]]
                episodes.append(
                    EpisodeValue(
                        episode.name,
                        episode.file,
                        run_index.outcome(episode),
                        episode.prompts,
                        group.name,
                        float(column[place]),
                        int(frames[place]),
                    )
                )
        return Distribution(query, layer, head, tuple(sorted(episodes, key=lambda episode: -episode.value)))

    def curve(self, query: RunQuery, layer: int, head: int) -> RunCurve:
        """Return the score of one head over the time of an episode, one line a group.

        Raises:
            UserError: As `atlas`, or there is no such head.
        """
        self._find_cell(layer, head)
        values = self._find_values(query, (layer, head))
        values = values.merged(count_parts(values.frames))
        everything, groups = self._choose_groups(query, values)
        curves = []
        for group in groups or [everything]:
            mean = statistics.describe_mean(group.values)
            curves.append(GroupCurve(group.name, mean.mean, mean.low, mean.high, mean.episodes))
        parts = values.frames.shape[1]
        return RunCurve(query, layer, head, (np.arange(parts) + 0.5) / parts, tuple(curves))

    # From the disk

    def _find_values(self, query: RunQuery, cell: tuple[int, int] | None = None) -> _Values:
        """Return a score's sums for every head, or over the parts of an episode for one: kept for the next query."""
        problem = query.find_problem()
        if problem:
            raise UserError(problem)
        step = self._find_step(query)
        key = (query.score, step, query.times, query.frames, cell)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            if self._is_closed:
                raise UserError(CLOSED)
            if self._database is None:
                self._database = Database(self.folder)
            database = self._database
        values = self._read(database, query, step, cell)
        with self._lock:
            self._cache[key] = values
            while len(self._cache) > 1 and sum(answer.nbytes for answer in self._cache.values()) > MAX_CACHED_BYTES:
                self._cache.popitem(last=False)
        return values

    def _read(self, database: Database, query: RunQuery, step: int, cell: tuple[int, int] | None) -> _Values:
        cells = PARTS if cell is not None else len(self.layers) * self.heads
        if not self._files:
            nothing = np.zeros(0, np.int64)
            return _Values(nothing, nothing, np.zeros((0, cells)), np.zeros((0, cells), np.int64))
        name = find_score(query.score).name  # of the registry, not of the data
        is_whole = query.is_whole and cell is None
        if not is_whole:
            if cell is None:  # reading all parts takes no longer than adding up some of them in the database
                self.read_parts_ahead(query)
            if (table := self._find_part_table(query)) is not None:
                return self._take_from_table(table, query, cell)
        conditions = ["step = ?", "part = ?" if is_whole else "part BETWEEN ? AND ?"]
        values: list[float] = [step, *((WHOLE,) if is_whole else find_parts(query.times))]
        if cell is not None:
            conditions += ["layer = ?", "head = ?"]
            values += cell
        if query.frames is not None:
            conditions += ['"middle frame" BETWEEN ? AND ?']
            values += query.frames
        keys = f"episode, prompt, {'part' if cell is not None else 'layer, head'}"
        total, frames = f'"{name}" * "{name} frames"', f'"{name} frames"'
        if not is_whole and cell is None:  # else each row is by itself
            total, frames = f"sum({total})", f"sum({frames})"
        rows = database.ask(
            f"SELECT {keys}, {total} AS total, {frames} AS frames FROM FILES"  # noqa: S608 - names of ours
            f" WHERE {' AND '.join(conditions)}" + (" GROUP BY ALL" if total.startswith("sum") else ""),
            values,
            self._files,
        )
        return self._create_table(rows, cells, is_over_parts=cell is not None)

    def read_parts_ahead(self, query: RunQuery) -> None:
        """Read the parts of all episodes for the score and step of a query, unless they are too many or there.

        Every range of time and frames, and the curve of every head, is answered from memory then.

        Raises:
            UserError: The summary cannot be read.
        """
        cells = list(itertools.product(self.layers, range(self.heads)))
        key = query.score, self._find_step(query)
        if not self._files or len(self.episodes) * PARTS * len(cells) > part_table.MOST_ROWS:
            return
        with self._lock:
            database = self._database
            if database is None or (self._part_table is not None and self._part_table[0] == key):
                return
        table = part_table.read_part_table(database, self._files, find_score(query.score).name, key[1], cells)
        with self._lock:
            self._part_table = None if self._is_closed else (key, table)

    def _find_part_table(self, query: RunQuery) -> PartTable | None:
        with self._lock:
            entry = self._part_table
        return entry[1] if entry is not None and entry[0] == (query.score, self._find_step(query)) else None

    def _find_step(self, query: RunQuery) -> int:
        """Return the denoise step as the summary has it."""
        has_no_step = query.step is None or not self.steps or "steps" in find_score(query.score).needs
        return WHOLE if has_no_step else int(query.step or 0)

    def _take_from_table(self, table: PartTable, query: RunQuery, cell: tuple[int, int] | None) -> _Values:
        """Return the values of a query; of one head the parts, else the sums over them."""
        chosen = table.choose(*find_parts(query.times), query.frames)
        if cell is None:
            total, frames = table.add_parts(chosen)
        else:
            total, frames = table.take_cell(self._find_cell(*cell), chosen)
        is_known = (table.number >= 0) & (table.number < len(self._place_of)) & (table.prompt < len(self.prompts))
        place = np.where(is_known, self._place_of[np.where(is_known, table.number, 0)], -1)
        rows = np.flatnonzero((place >= 0) & chosen.any(1))
        rows = rows[np.argsort(place[rows] * len(self.prompts) + table.prompt[rows])]
        return _Values(place[rows], table.prompt[rows], total[rows], frames[rows])

    def _create_table(self, rows: dict[str, npt.NDArray[Any]], cells: int, *, is_over_parts: bool) -> _Values:
        """Return rows of a query as a table of units and cells; rows that do not fit the list are left out."""
        number, prompt = rows["episode"].astype(np.int64), rows["prompt"].astype(np.int64)
        is_known = (number >= 0) & (number < len(self._place_of)) & (prompt >= 0) & (prompt < len(self.prompts))
        place = np.where(is_known, self._place_of[np.where(is_known, number, 0)], -1)
        if is_over_parts:
            column = rows["part"].astype(np.int64)
            is_known &= column < cells
        else:
            layer, head = rows["layer"].astype(np.int64), rows["head"].astype(np.int64)
            layers = np.array(self.layers, np.int64)
            row = np.searchsorted(layers, layer)
            is_known &= (row < len(layers)) & (head >= 0) & (head < self.heads)
            row = np.where(is_known, row, 0)
            is_known &= layers[row] == layer
            column = row * self.heads + head
        is_used = is_known & (place >= 0)
        units, where = np.unique(place[is_used] * len(self.prompts) + prompt[is_used], return_inverse=True)
        total, frames = np.zeros((len(units), cells)), np.zeros((len(units), cells), np.int64)
        total[where, column[is_used]] = np.nan_to_num(rows["total"][is_used].astype(np.float64))
        frames[where, column[is_used]] = np.nan_to_num(rows["frames"][is_used].astype(np.float64)).astype(np.int64)
        return _Values(units // max(len(self.prompts), 1), units % max(len(self.prompts), 1), total, frames)

    # Filters and groups

    def _choose_groups(self, query: RunQuery, values: _Values) -> tuple[_Group, list[_Group]]:
        """Return all episodes that a query counts, and its groups: success before failure, prompts by their names."""
        chosen = np.ones(len(values.episode), np.bool_)
        if query.prompts:
            chosen &= np.isin(
                values.prompt, [self.prompts.index(prompt) for prompt in query.prompts if prompt in self.prompts]
            )
        outcomes = self._outcomes[values.episode] if len(values.episode) else np.zeros(0, object)
        if query.outcomes:
            chosen &= np.isin(outcomes.astype(str), query.outcomes)
        groups = []
        if query.group == "outcome":
            for outcome in ("success", "failure", ""):
                groups.append(self._merge(values, chosen & (outcomes == outcome), outcome or UNKNOWN))
        elif query.group == "prompt":
            names = sorted({int(number) for number in values.prompt[chosen]}, key=lambda number: self.prompts[number])
            for number in names[:MOST_GROUPS]:
                groups.append(self._merge(values, chosen & (values.prompt == number), self.prompts[number]))
        filled = [group for group in groups if len(group.places)]
        if query.group == "outcome" and [group.name for group in filled][:2] == ["success", "failure"]:
            filled = filled[:2]
        return self._merge(values, chosen, ALL), filled

    def _merge(self, values: _Values, chosen: npt.NDArray[np.bool_], name: str) -> _Group:
        """Return the mean of each episode over its chosen frames of all prompts."""
        places, where = np.unique(values.episode[chosen], return_inverse=True)
        total, frames = values.total[chosen], values.frames[chosen]
        if len(places) < len(where):  # episodes with several prompts
            total = _sum_rows(total, where, len(places))
            frames = _sum_rows(frames, where, len(places))
        else:  # each once, already in order
            total, frames = total[np.argsort(where)], frames[np.argsort(where)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return _Group(name, np.where(frames > 0, total / frames, np.nan), frames, places)

    def _describe_group(self, group: _Group) -> GroupAtlas:
        mean = statistics.describe_mean(group.values)
        return GroupAtlas(
            group.name,
            self._as_heads(mean.mean),
            self._as_heads(mean.low),
            self._as_heads(mean.high),
            mean.episodes.reshape(len(self.layers), self.heads),
            group.frames.sum(0).reshape(len(self.layers), self.heads),
        )

    def _as_heads(self, values: Doubles) -> Doubles:
        return values.reshape(len(self.layers), self.heads)

    def _find_cell(self, layer: int, head: int) -> int:
        if layer not in self.layers or not 0 <= head < self.heads:
            raise UserError(f"The run has no head {head} in layer {layer}.")
        return self.layers.index(layer) * self.heads + head


def _sum_rows(rows: npt.NDArray[Any], where: npt.NDArray[np.int64], count: int) -> npt.NDArray[Any]:
    sums = np.zeros((count, rows.shape[1]), rows.dtype)
    np.add.at(sums, where, rows)
    return sums
