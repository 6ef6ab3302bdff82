"""Parquet files of a summary: rows of episodes, sorted so that a query reads few row groups. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from capture import __version__
from viewer.analysis.scores import SCORES
from viewer.export import atomic_write
from viewer.runs.summary_files import PARTS, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from viewer.export.runs.episode_parts import EpisodeParts

COLUMNS: Final = {
    "part": f"Part of the episode's time, 0 to {PARTS - 1}; {WHOLE} for all of it, which is there too.",
    "step": f"Number of the denoise step; {WHOLE} for the mean of all, which is there too; {WHOLE} for words.",
    "episode": "Number of the episode in summary.json; rows of other numbers are out of date.",
    "prompt": "Place of the prompt among the prompts of summary.json.",
    "layer": "Number of the layer, from 0.",
    "head": "From 0.",
    "middle frame": "Mean of the part's first and last frame by the numbers of the results file, from 0.",
}


@dataclass(frozen=True)
class NumberedEpisode:
    """An episode's sums, and the numbers under which a summary has it."""

    number: int
    prompts: tuple[int, ...]
    """Place of each prompt in the summary's list."""
    parts: EpisodeParts


def write_data(path: Path, episodes: Sequence[NumberedEpisode]) -> None:
    """Write the rows of episodes, with the same layers, heads and steps, to a new file.

    Raises:
        UserError: The file cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    steps = (WHOLE, *episodes[0].parts.steps)
    with atomic_write.atomic_path(path, overwrite=True) as unfinished:
        writer: Any = None
        try:
            for columns in _row_groups(episodes, steps):
                table = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
                if writer is None:
                    table_schema = _describe(table.schema)
                    writer = pyarrow.parquet.ParquetWriter(
                        str(unfinished), table_schema, compression="zstd", use_dictionary=_repeated(table.schema.names)
                    )
                writer.write_table(table.cast(table_schema), row_group_size=table.num_rows)
        finally:
            if writer is not None:
                writer.close()


def _row_groups(episodes: Sequence[NumberedEpisode], steps: Sequence[int]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the columns of each row group: whole episodes, then parts, step by step."""
    for is_whole in (True, False):
        for place, step in enumerate(steps):
            blocks = [_columns(one, place, step, is_whole=is_whole) for one in episodes]
            columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
            if len(columns["part"]):
                yield columns


def _columns(episode: NumberedEpisode, place: int, step: int, *, is_whole: bool) -> dict[str, npt.NDArray[Any]]:
    """Return the rows of an episode at one pass: a line for each prompt, part, layer and head."""
    parts, blocks = episode.parts, []
    cells = len(parts.layers) * parts.heads
    layer = np.repeat(np.array(parts.layers, np.int16), parts.heads)
    head = np.tile(np.arange(parts.heads, dtype=np.int16), len(parts.layers))
    for number, prompt in zip(episode.prompts, parts.prompts, strict=True):
        there = np.flatnonzero(prompt.first >= 0)
        if is_whole:
            labels, first, last = (
                np.array([WHOLE]),
                prompt.first[there].min(keepdims=True),
                prompt.last.max(keepdims=True),
            )
        else:
            labels, first, last = there, prompt.first[there], prompt.last[there]
        lines = len(labels) * cells
        columns: dict[str, npt.NDArray[Any]] = {
            "part": np.repeat(labels.astype(np.int16), cells),
            "step": np.full(lines, step, np.int16),
            "episode": np.full(lines, episode.number, np.int32),
            "prompt": np.full(lines, number, np.int32),
            "layer": np.tile(layer, len(labels)),
            "head": np.tile(head, len(labels)),
            "middle frame": np.repeat((first + last) / 2, cells),
        }
        for name, total in prompt.total.items():
            sums, frames = total[:, place], prompt.frames[name][:, place]
            sums = sums.sum(0, keepdims=True) if is_whole else sums[there]
            frames = frames.sum(0, keepdims=True) if is_whole else frames[there]
            with np.errstate(divide="ignore", invalid="ignore"):
                columns[name] = np.where(frames > 0, sums / frames, np.nan).astype(np.float32).ravel()
            columns[f"{name} frames"] = frames.astype(np.int32).ravel()
        blocks.append(columns)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _describe(found: Any) -> Any:
    """Return a schema of pyarrow with what each column holds beside it."""
    import pyarrow

    described = COLUMNS | {name: f"Mean over frames. {score.description}" for name, score in SCORES.items()}
    described |= {f"{name} frames": f"Frames with a value of “{name}”." for name in SCORES}
    fields = [one.with_metadata({"description": described[one.name]}) for one in found]
    return pyarrow.schema(fields, {"generator": f"pi0-export {__version__}"})


def _repeated(names: Sequence[str]) -> list[str]:
    """Return the columns whose values repeat."""
    return [name for name in names if name not in SCORES]
