"""Parquet files of a summary: rows of episodes, sorted so that a query reads few row groups. No Qt."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from capture import __version__
from viewer.analysis.scores import SCORES
from viewer.errors import UserError
from viewer.export import atomic_write
from viewer.runs.summary_files import MOMENTS_KEY, PARTS, WHOLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
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
MOMENT_COLUMNS: Final = ("episode", "prompt", "part", "middle frame")


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

    steps = (WHOLE, *episodes[0].parts.steps)
    tables = (
        pyarrow.table(
            {name: pyarrow.array(column, from_pandas=True) for name, column in columns.items()}
        )  # NaN is NULL
        for columns in _row_groups(episodes, steps)
    )
    first = next(tables)
    table_schema = _add_descriptions(first.schema, _list_moments(episodes))
    with (
        atomic_write.open_atomic_path(path, overwrite=True) as unfinished,
        _open_writer(unfinished, table_schema) as writer,
    ):
        for table in itertools.chain([first], tables):
            writer.write_table(table.cast(table_schema), row_group_size=table.num_rows)


def _open_writer(path: Path, table_schema: Any) -> Any:
    """Return pyarrow's writer of a file; columns whose values repeat are stored as dictionaries."""
    import pyarrow.parquet

    repeated = [name for name in table_schema.names if name not in SCORES]
    return pyarrow.parquet.ParquetWriter(str(path), table_schema, compression="zstd", use_dictionary=repeated)


def _row_groups(episodes: Sequence[NumberedEpisode], steps: Sequence[int]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the columns of each row group: whole episodes, then parts, step by step."""
    for is_whole in (True, False):
        for place, step in enumerate(steps):
            blocks = [_create_columns(episode, place, step, is_whole=is_whole) for episode in episodes]
            columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
            if len(columns["part"]):
                yield columns


def _create_columns(episode: NumberedEpisode, place: int, step: int, *, is_whole: bool) -> dict[str, npt.NDArray[Any]]:
    """Return the rows of an episode at one pass: a line for each prompt, part, layer and head."""
    parts, blocks = episode.parts, []
    cells = len(parts.layers) * parts.heads
    layer = np.repeat(np.array(parts.layers, np.int16), parts.heads)
    head = np.tile(np.arange(parts.heads, dtype=np.int16), len(parts.layers))
    for number, prompt in zip(episode.prompts, parts.prompts, strict=True):
        recorded = np.flatnonzero(prompt.first >= 0)
        if is_whole:
            labels, first, last = (
                np.array([WHOLE]),
                prompt.first[recorded].min(keepdims=True),
                prompt.last.max(keepdims=True),
            )
        else:
            labels, first, last = recorded, prompt.first[recorded], prompt.last[recorded]
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
            sums = sums.sum(0, keepdims=True) if is_whole else sums[recorded]
            frames = frames.sum(0, keepdims=True) if is_whole else frames[recorded]
            with np.errstate(divide="ignore", invalid="ignore"):
                columns[name] = np.where(frames > 0, sums / frames, np.nan).astype(np.float32).ravel()
            columns[f"{name} frames"] = frames.astype(np.int32).ravel()
        blocks.append(columns)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _list_moments(episodes: Sequence[NumberedEpisode]) -> dict[str, Any]:
    """Return the keys of the rows of parts, each once for all layers and heads, in the order of every row group.

    With them `frames`, by score: how many there are behind each moment, where these are as many for all steps, layers
    and heads.
    """
    moments: dict[str, Any] = {name: [] for name in MOMENT_COLUMNS}
    frames: dict[str, list[int]] = {name: [] for name in episodes[0].parts.prompts[0].frames}
    for episode in episodes:
        for number, prompt in zip(episode.prompts, episode.parts.prompts, strict=True):
            there = np.flatnonzero(prompt.first >= 0)
            moments["episode"] += [episode.number] * len(there)
            moments["prompt"] += [number] * len(there)
            moments["part"] += there.tolist()
            moments["middle frame"] += ((prompt.first[there] + prompt.last[there]) / 2).tolist()
            for name, counts in prompt.frames.items():
                of_parts = counts[there]
                if name in frames and (of_parts == of_parts[:, :1, :1, :1]).all():
                    frames[name] += of_parts[:, 0, 0, 0].tolist()
                else:
                    frames.pop(name, None)
    parts = episodes[0].parts
    return {"layers": list(parts.layers), "heads": parts.heads, **moments, "frames": frames}


def _merge_moments(schemas: Sequence[Any], numbers: Collection[int]) -> dict[str, Any] | None:
    """Return the moments of some episodes in several files; None where a file does not have them."""
    try:
        noted = [json.loads((schema.metadata or {})[MOMENTS_KEY.encode()]) for schema in schemas]
        is_kept = [[number in numbers for number in moments["episode"]] for moments in noted]

        def join(columns: list[list[Any]]) -> list[Any]:
            return [value for pair in zip(columns, is_kept, strict=True) for value in itertools.compress(*pair)]

        names = set.intersection(*(set(moments["frames"]) for moments in noted))
        merged = {name: join([moments[name] for moments in noted]) for name in MOMENT_COLUMNS}
        frames = {name: join([moments["frames"][name] for moments in noted]) for name in sorted(names)}
        return {"layers": noted[0]["layers"], "heads": noted[0]["heads"], **merged, "frames": frames}
    except (KeyError, TypeError, ValueError):
        return None


def _add_descriptions(schema: Any, moments: dict[str, Any] | None) -> Any:
    """Return a schema of pyarrow with what each column holds beside it, and the moments of the file."""
    import pyarrow

    described = COLUMNS | {name: f"Mean over frames. {score.description}" for name, score in SCORES.items()}
    described |= {f"{name} frames": f"Frames with a value of “{name}”." for name in SCORES}
    fields = [column.with_metadata({"description": described[column.name]}) for column in schema]
    listed = {} if moments is None else {MOMENTS_KEY: json.dumps(moments, separators=(",", ":"))}
    return pyarrow.schema(fields, {"generator": f"pi0-export {__version__}", **listed})


def merge_data(sources: Sequence[Path], episode_numbers: Collection[int], target: Path) -> None:
    """Write the rows of some episodes in several files to one file, in the order of `write_data`.

    `episode_numbers` are the numbers of the episodes; rows of others are left out.

    Raises:
        UserError: A file cannot be read, or the new one cannot be written.
    """
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet

    numbers = pyarrow.array(sorted(episode_numbers), pyarrow.int32())
    try:
        files = [pyarrow.parquet.ParquetFile(path) for path in sources]
        groups = [(file, group) for file in files for group in range(file.num_row_groups)]
        tables_by_key: dict[tuple[bool, int], list[Any]] = {}
        for file, group in groups:
            table = file.read_row_group(group)
            table = table.filter(compute.is_in(table["episode"], numbers))
            if table.num_rows:
                key = table["part"][0].as_py() != WHOLE, table["step"][0].as_py()
                tables_by_key.setdefault(key, []).append(table)
        with atomic_write.open_atomic_path(target, overwrite=True) as unfinished:
            schemas = [file.schema_arrow for file in files]
            table_schema = _add_descriptions(schemas[0], _merge_moments(schemas, episode_numbers))
            with _open_writer(unfinished, table_schema) as writer:
                for key in sorted(tables_by_key):
                    table = pyarrow.concat_tables(tables_by_key.pop(key)).cast(table_schema)
                    writer.write_table(table, row_group_size=table.num_rows)
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{target.parent} cannot be read ({reason}); delete it to make it anew.") from None
