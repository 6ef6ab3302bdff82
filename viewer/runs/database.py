"""Queries of Parquet files in DuckDB, which is embedded and loaded when it is first needed. No Qt."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MEMORY: Final = "200MB"
"""That DuckDB may use; what needs more is refused, as it may not write to the disk either."""
THREADS: Final = 2
PACKAGES: Final = ("duckdb", "pyarrow")
"""What answers over a run need: to read a summary, and to write it."""
CLOSED: Final = "The run was closed before its summary had answered."


def find_missing() -> str:
    """Return what to install where DuckDB or pyarrow are missing, as a sentence; empty where both are there."""
    import importlib.util

    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    return _name_missing(missing) if missing else ""


def _name_missing(names: Sequence[str]) -> str:
    return (
        f"Answers over a run need {' and '.join(names)}: pip install 'pi0-attention[run]' (or pip install "
        f"{' '.join(names)})."
    )


class DamagedSummaryError(UserError):
    """A summary's Parquet files cannot be read: it can be made anew from the results files."""


class Database:
    """A database in memory that reads the Parquet files of one folder and nothing else. Any thread may ask it.

    No extension is installed or loaded, no network or other file is reached, and no setting can be changed afterwards.
    """

    def __init__(self, folder: Path) -> None:
        """Start a database for the files in `folder`; UserError where DuckDB is not installed."""
        try:
            import duckdb
        except ImportError:
            raise UserError(_name_missing(PACKAGES[:1])) from None
        self._error: type[Exception] = duckdb.Error
        self._memory_error: type[Exception] = duckdb.OutOfMemoryException
        self._lock = threading.Lock()
        self._is_closed = False
        self._running: set[Any] = set()
        """Cursors of the queries that run now; guarded by the lock, as is `_is_closed`."""
        self._connection: Any = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "memory_limit": MEMORY,
                "threads": THREADS,
                "temp_directory": "",
                "python_enable_replacements": False,
            },
        )
        with contextlib.suppress(duckdb.Error):  # of older versions, which read the end of each file for every query
            self._connection.execute("SET parquet_metadata_cache = true")
        self._connection.execute("SET allowed_directories = ?", [[f"{folder}/"]])
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def ask(self, sql: str, values: Sequence[object], files: Sequence[Path]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of a query, by name.

        `FILES` in it stands for the Parquet files, `METADATA` for what is noted in them beside their columns
        (file_name, key, value). NULL is NaN in columns of floats.

        Raises:
            UserError: The files cannot be read or do not have these columns, or the database was closed meanwhile.
        """
        text = sql.replace("FILES", "read_parquet(?)").replace("METADATA", "parquet_kv_metadata(?)")
        with self._lock:
            if self._is_closed:
                raise UserError(CLOSED)
            cursor = self._connection.cursor()
            self._running.add(cursor)
        try:
            columns = cursor.execute(text, [[str(path) for path in files], *values]).fetchnumpy()
        except self._error as error:
            if self._is_closed:
                raise UserError(CLOSED) from None
            reason = " ".join(str(error).split())[:160]
            if isinstance(error, self._memory_error):
                raise UserError(f"The question needs more than {MEMORY} of memory ({reason}); ask less.") from None
            raise DamagedSummaryError(
                f"The summary of the run cannot be read ({reason}); delete it to make it anew."
            ) from None
        finally:
            with self._lock:
                cursor.close()
                self._running.discard(cursor)
                self._free_if_unused()
        return {
            name: np.ma.filled(column.astype(np.float64), np.nan)
            if isinstance(column, np.ma.MaskedArray)
            else np.asarray(column)
            for name, column in columns.items()
        }

    def close(self) -> None:
        """Interrupt the queries that run now, and free what it holds after the last of them; does not wait."""
        with self._lock:
            self._is_closed = True
            for cursor in self._running:
                cursor.interrupt()
            self._free_if_unused()

    def _free_if_unused(self) -> None:
        """Close the connection after its last query: DuckDB refuses to close one that is in use."""
        if self._is_closed and not self._running:
            self._connection.close()
