"""A score of every part of every episode in memory, so that another range of time or frames reads nothing. No Qt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.runs.summary_files import MOMENTS_KEY, PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viewer.runs.database import Database

MOST_ROWS: Final = 6_000_000
"""Of a score at one step, about 100 MB while they are read: 2,000 episodes of the full-size policy. Of longer runs the
database adds up each range."""
PART_BITS: Final = 8
PROMPT_BITS: Final = 16
"""Bits of a moment's key."""


@dataclass(frozen=True, eq=False)
class PartTable:
    """Sums of one score at one step over the frames of each part; a unit is an episode with one prompt."""

    number: npt.NDArray[np.int64]
    """(units,): the episode's number in the summary."""
    prompt: npt.NDArray[np.int64]
    """(units,): place among the summary's prompts."""
    total: npt.NDArray[np.float32]
    """(units, PARTS, cells)"""
    frames: npt.NDArray[np.int32]
    """(units, PARTS, cells): frames behind each sum; a view of one cell where these are as many for all."""
    middle_frame: npt.NDArray[np.float64]
    """(units, PARTS): mean of the part's first and last frame; NaN where it has none."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return self.total.nbytes + self.frames.nbytes + self.middle_frame.nbytes

    def choose(self, first: int, last: int, frames: tuple[int, int] | None) -> npt.NDArray[np.bool_]:
        """Return which parts from `first` to `last` have their middle in a range of frames, if any: (units, PARTS)."""
        parts = np.arange(PARTS)
        chosen: npt.NDArray[np.bool_] = np.isfinite(self.middle_frame) & (parts >= first) & (parts <= last)
        if frames is not None:
            chosen &= (self.middle_frame >= frames[0]) & (self.middle_frame <= frames[1])
        return chosen

    def add_parts(self, chosen: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return sums and frames over chosen parts: (units, cells) each."""
        within = np.flatnonzero(chosen.any(0))
        parts = slice(within[0], within[-1] + 1) if len(within) else slice(0, 0)
        total, frames, chosen = self.total[:, parts], self.frames[:, parts], chosen[:, parts]
        if not chosen.all():
            total, frames = np.where(chosen[..., None], total, 0), np.where(chosen[..., None], frames, 0)
        return total.sum(1, dtype=np.float64), frames.sum(1, dtype=np.int64)

    def take_cell(
        self, cell: int, chosen: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return sums and frames of one cell in chosen parts, 0 in the others: (units, PARTS) each."""
        total, frames = self.total[:, :, cell], self.frames[:, :, cell]
        return np.where(chosen, total, 0).astype(np.float64), np.where(chosen, frames, 0).astype(np.int64)


def read_part_table(
    database: Database, files: Sequence[Path], score: str, step: int, cells: Sequence[tuple[int, int]]
) -> PartTable | None:
    """Read the table of a score at a step.

    `cells` are the layers and heads in the order in which a summary has them. None where its rows come in another
    order, or are not all there.

    Raises:
        UserError: The files cannot be read.
    """
    moments = _read_moments(database, files, score, cells) or _find_moments(database, files, step, cells)
    if moments is None or not len(moments.part):
        return None
    counts = moments.frames  # a third of the time of reading is that of the column of frames
    columns = f'"{score}" AS mean' + (f', "{score} frames" AS frames' if counts is None else "")
    rows = database.ask(
        f"SELECT {columns} FROM FILES WHERE step = ? AND part BETWEEN ? AND ?",  # noqa: S608 - names of ours
        [step, 0, PARTS - 1],
        files,
    )
    part = moments.part
    if len(rows["mean"]) != len(part) * len(cells):
        return None
    unit = (moments.episode << PROMPT_BITS) + moments.prompt
    if not 0 <= part.min() <= part.max() < PARTS or len(np.unique((unit << PART_BITS) + part)) < len(unit):
        return None
    units, where = np.unique(unit, return_inverse=True)
    if counts is None:
        counts = np.nan_to_num(rows["frames"]).astype(np.int32, copy=False).reshape(-1, len(cells))
    else:
        counts = counts[:, None]
    added = _multiply(rows["mean"].astype(np.float32, copy=False).reshape(-1, len(cells)), counts)
    shape = len(units), PARTS
    place = where * PARTS + part
    if len(place) == len(units) * PARTS and (np.diff(place) == 1).all():  # all there and in order: nothing is copied
        total, frames = added.reshape(*shape, -1), counts.reshape(*shape, -1)
    else:
        total = np.zeros((*shape, len(cells)), np.float32)
        frames = np.zeros((*shape, counts.shape[1]), np.int32)
        total[where, part], frames[where, part] = added, counts
    middle = np.full(shape, np.nan)
    middle[where, part] = moments.middle_frame
    every = np.broadcast_to(frames, total.shape)
    return PartTable(units >> PROMPT_BITS, units & ((1 << PROMPT_BITS) - 1), total, every, middle)


def _multiply(mean: npt.NDArray[np.float32], frames: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return sums over frames, 0 where there is none."""
    added = mean * frames.astype(np.float32)
    undefined = ~np.isfinite(added)
    if undefined.any() or frames.min(initial=1) <= 0:
        added[undefined | (frames <= 0)] = 0
    return added


@dataclass(frozen=True, eq=False)
class _Moments:
    """Keys of rows of parts, each once for all layers and heads: (moments,) each."""

    episode: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.int64]
    part: npt.NDArray[np.int64]
    middle_frame: npt.NDArray[np.float64]
    frames: npt.NDArray[np.int32] | None
    """Frames behind the score, where these are as many for all layers and heads; None where that is not known."""


def _read_moments(
    database: Database, files: Sequence[Path], score: str, cells: Sequence[tuple[int, int]]
) -> _Moments | None:
    """Return the moments as the files list them, in a quarter of the time of looking for them.

    None where a file does not have a list, or one that does not fit the layers and heads.
    """
    noted = database.ask("SELECT file_name AS file, value FROM METADATA WHERE key = ?::BLOB", [MOMENTS_KEY], files)
    by_file = dict(zip(noted["file"].tolist(), noted["value"].tolist(), strict=True))
    columns: list[list[npt.NDArray[Any]]] = []
    counts: list[npt.NDArray[np.int32]] = []
    try:
        for path in files:
            listed = json.loads(by_file[str(path)])
            if [(layer, head) for layer in listed["layers"] for head in range(int(listed["heads"]))] != list(cells):
                return None
            keys = [np.array(listed[name], np.int64) for name in ("episode", "prompt", "part")]
            columns.append([*keys, np.array(listed["middle frame"], np.float64)])
            counts.append(np.array(listed["frames"].get(score, ()), np.int32))
        episode, prompt, part, middle = (np.concatenate(arrays) for arrays in zip(*columns, strict=True))
        frames = np.concatenate(counts)
        is_usable = len({episode.shape, prompt.shape, part.shape, middle.shape}) == 1 and episode.ndim == 1
        if not is_usable or min(episode.min(), prompt.min(), part.min()) < 0:
            return None
        are_frames_known = all(len(count) == len(keys[0]) for count, keys in zip(counts, columns, strict=True))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return _Moments(episode, prompt, part, middle, frames if are_frames_known and frames.ndim == 1 else None)


def _find_moments(
    database: Database, files: Sequence[Path], step: int, cells: Sequence[tuple[int, int]]
) -> _Moments | None:
    """Return the moments as the rows have them; None where these are not in the order of layers and heads.

    Keys of all rows take three times as long to read as the numbers: those of a moment's first and last cell tell the
    order of the others, which are written a moment at a time.
    """
    keys = database.ask(
        'SELECT episode, prompt, part, layer, head, "middle frame" AS middle FROM FILES'
        " WHERE step = ? AND part BETWEEN ? AND ? AND ((layer = ? AND head = ?) OR (layer = ? AND head = ?))",
        [step, 0, PARTS - 1, *cells[0], *cells[-1]],
        files,
    )
    first = _take_first_cells(keys, cells)
    if first is None:
        return None
    episode, prompt, part = (first[name].astype(np.int64) for name in ("episode", "prompt", "part"))
    return _Moments(episode, prompt, part, first["middle"].astype(np.float64), None)


def _take_first_cells(
    keys: dict[str, npt.NDArray[Any]], cells: Sequence[tuple[int, int]]
) -> dict[str, npt.NDArray[Any]] | None:
    """Return the keys of each moment's first cell; None where those of the last one do not follow in turn."""
    if len(cells) == 1:
        return keys
    first, last = ({name: column[start::2] for name, column in keys.items()} for start in (0, 1))
    for rows, (layer, head) in ((first, cells[0]), (last, cells[-1])):
        if (rows["layer"] != layer).any() or (rows["head"] != head).any():
            return None
    is_same = all(np.array_equal(first[name], last[name]) for name in ("episode", "prompt", "part"))
    return first if is_same else None


def count_parts(frames: npt.NDArray[np.int64]) -> int:
    """Return into how many parts a curve divides an episode: as many as most of the episodes have frames in.

    `frames`: (units, PARTS). Parts without a frame at either end of a filtered range do not count.
    """
    has_frames = frames.any(0)
    if not has_frames.any():
        return PARTS
    first, last = np.flatnonzero(has_frames)[[0, -1]]
    for parts in (20, 10, 5, 4, 2):
        merged = frames.reshape(len(frames), parts, -1).sum(-1)
        inside = merged[:, first * parts // PARTS : last * parts // PARTS + 1] > 0
        if np.mean(inside.all(1)) >= 0.5:
            return parts
    return 1


def find_parts(times: tuple[float, float]) -> tuple[int, int]:
    """Return the first and last part whose middle lies between two times, 0 to 1; backwards where there is none."""
    first, last = (times[0] * PARTS - 0.5, times[1] * PARTS - 0.5)
    return int(np.ceil(first - 1e-9)), int(np.floor(last + 1e-9))
