"""Checked reading of parquet files from other programs: columns of numbers, texts and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.hdf5 import MAX_NUMBERS, is_lfs_pointer
from capture.errors import UserError

MAX_ROWS: Final = 1 << 25
"""Limit of rows in one file, 20 times that of LeRobot's files, which end after 100 MB."""

BATCH: Final = 8
"""Rows of a picture column in memory at once."""


class Parquet:
    """One parquet file; rows count from 0. Every method raises UserError for a damaged file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"{path} is missing")
        with self._guarded():
            # Buffered, since a whole column with the pictures of many episodes may not fit in memory.
            self._file = _import_parquet().ParquetFile(path, buffer_size=1 << 18)
            self.rows: int = self._file.metadata.num_rows
            self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        if self.rows > MAX_ROWS:
            raise UserError(
                f"{path} says that it has {self.rows} rows, more than any file of a data set; fetch it again"
            )

    def numbers(self, column: str, dims: int, rows: range | None = None) -> npt.NDArray[np.float64]:
        """Return a column of numbers, or of (nested) lists of `dims` numbers, at `rows`: (rows, dims) float64.

        Values may be NaN; a row without a list is NaN throughout.
        """
        where = f"the column {column} in {self.path}"
        if len(rows if rows is not None else range(self.rows)) * dims > 4 * MAX_NUMBERS:
            raise UserError(f"{where} is too large to be read: {dims} numbers a row")
        values = self.column(column, rows)
        pyarrow = _import_pyarrow()
        with self._guarded(), np.errstate(invalid="ignore"):
            is_missing = np.asarray(values.is_null())
            if is_missing.any() and _is_nested(values.type):
                values = values.drop_null()
            if _is_nested(values.type):
                flat, count = values, len(values)
                while _is_nested(flat.type):
                    lengths = np.asarray(flat.value_lengths())
                    is_even = not flat.null_count and (not len(lengths) or (lengths == lengths[0]).all())
                    flat = flat.flatten() if is_even else flat.slice(0, 0)
                    if not is_even:
                        break
                if _is_nested(flat.type) or len(flat) != count * dims:
                    raise UserError(f"{where} does not have lists of {dims} numbers in every row")
            else:
                is_missing[:] = False
                flat = values
                if dims != 1:
                    raise UserError(f"{where} has one value a row, but should have lists of {dims}")
            if flat.null_count or not (
                pyarrow.types.is_integer(flat.type)
                or pyarrow.types.is_floating(flat.type)
                or pyarrow.types.is_boolean(flat.type)
            ):
                raise UserError(f"{where} holds {flat.type} with {flat.null_count} gaps, but should hold numbers")
            numbers = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(-1, dims)
        if not is_missing.any():
            return numbers
        completed = np.full((len(is_missing), dims), np.nan)
        completed[~is_missing] = numbers
        return completed

    def integers(self, column: str) -> npt.NDArray[np.int64]:
        """Return a column of integers, (rows,) int64."""
        values = self.numbers(column, 1)[:, 0]
        if (values != np.floor(values)).any() or (np.abs(values) > 1 << 52).any():
            raise UserError(f"the column {column} in {self.path} holds numbers that are not whole")
        return values.astype(np.int64)

    def values(self, column: str) -> list[Any]:
        """Return a small column as Python objects."""
        with self._guarded():
            values: list[Any] = self.column(column, None).to_pylist()
        return values

    def column(self, column: str, rows: range | None) -> Any:
        """Return a column as one pyarrow array, at `rows` or all."""
        self._check(column)
        with self._guarded():
            groups, skipped = self._find_row_groups(rows or range(self.rows))
            table = self._file.read_row_groups(groups, columns=[column])
            chosen = table.column(column)
            if rows is not None:
                chosen = chosen.slice(rows.start - skipped, len(rows))
            if len(chosen) != len(rows if rows is not None else range(self.rows)):
                raise UserError(
                    f"the column {column} in {self.path} has {len(chosen)} rows and not as many as its file"
                )
            return _import_pyarrow().concat_arrays(chosen.chunks) if chosen.num_chunks else chosen.combine_chunks()

    def each(self, column: str, rows: Sequence[int]) -> Iterator[Any]:
        """Yield the values of a column at ascending rows, with `BATCH` of them in memory."""
        self._check(column)
        groups, skipped = self._find_row_groups(range(rows[0], rows[-1] + 1)) if rows else ([], 0)
        pending = iter(rows)
        row, start = next(pending, None), skipped
        with self._guarded():
            batches = iter(self._file.iter_batches(BATCH, row_groups=groups, columns=[column])) if groups else iter(())
        while row is not None:
            with self._guarded():
                batch = next(batches, None)
            if batch is None:
                raise UserError(f"{self.path} has no row {row}; it may be cut off")
            while row is not None and row < start + len(batch):
                with self._guarded():
                    value = batch.column(0)[row - start].as_py()
                yield value
                row = next(pending, None)
            start += len(batch)

    def _check(self, column: str) -> None:
        if column not in self.columns:
            raise UserError(f"{self.path} has no column {column}; it has {', '.join(self.columns[:20])}")

    def _find_row_groups(self, rows: range) -> tuple[list[int], int]:
        """Return the row groups that hold `rows`, and the number of rows before the first of them."""
        groups: list[int] = []
        start = skipped = 0
        for group in range(self._file.metadata.num_row_groups):
            end = start + self._file.metadata.row_group(group).num_rows
            if start < rows.stop and end > rows.start:
                skipped = skipped if groups else start
                groups.append(group)
            start = end
        return groups, skipped

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, RuntimeError) as error:
            if is_lfs_pointer(self.path):
                raise UserError(
                    f"{self.path} is only a Git LFS pointer; run `git lfs pull` to fetch the file itself"
                ) from error
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.path} cannot be read as parquet, it may be cut off or damaged ({reason[:120]})"
            ) from error


def _is_nested(kind: Any) -> bool:
    """Return whether a pyarrow type is one of lists."""
    types = _import_pyarrow().types
    return bool(types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind))


def _import_parquet() -> ModuleType:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError(
            "reading parquet files needs the package pyarrow; run pip install 'pi0-attention[datasets]'"
        ) from None
    module: ModuleType = pyarrow.parquet
    return module


def _import_pyarrow() -> Any:
    import pyarrow.types

    return pyarrow
