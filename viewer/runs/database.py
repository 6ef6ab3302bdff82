"""Queries of Parquet files in DuckDB, which is embedded and loaded when it is first needed. No Qt."""

from __future__ import annotations

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
MISSING: Final = "Answers over a run need duckdb: pip install 'pi0-attention[run]' (or pip install duckdb)."


def find_missing() -> str:
    """Return what to install where DuckDB is missing, as a sentence; empty where it is there."""
    import importlib.util

    return "" if importlib.util.find_spec("duckdb") else MISSING


class Database:
    """A database in memory that reads the Parquet files of one folder and nothing else. Any thread may ask it.

    No extension is installed or loaded, no network or other file is reached, and no setting can be changed afterwards.
    """

    def __init__(self, folder: Path) -> None:
        """Start a database for the files in `folder`; UserError where DuckDB is not installed."""
        try:
            import duckdb
        except ImportError:
            raise UserError(MISSING) from None
        self._error: type[Exception] = duckdb.Error
        self._lock = threading.Lock()
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
        self._connection.execute("SET allowed_directories = ?", [[f"{folder}/"]])
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def ask(self, sql: str, values: Sequence[object], files: Sequence[Path]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of a query, by name; `FILES` in it stands for the Parquet files.

        NULL is NaN in columns of floats.

        Raises:
            UserError: The files cannot be read or do not have these columns.
        """
        text = sql.replace("FILES", "read_parquet(?)")
        try:
            with self._lock:
                cursor = self._connection.cursor()
            try:
                columns = cursor.execute(text, [[str(path) for path in files], *values]).fetchnumpy()
            finally:
                cursor.close()
        except self._error as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"The summary of the run cannot be read ({reason}); delete it to make it anew.") from None
        return {
            name: np.ma.filled(column.astype(np.float64), np.nan)
            if isinstance(column, np.ma.MaskedArray)
            else np.asarray(column)
            for name, column in columns.items()
        }

    def close(self) -> None:
        """Free what it holds; a second call does nothing."""
        with self._lock:
            self._connection.close()
