"""Columns of a table as Parquet. No Qt."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.export.formats.csv_lines import is_repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Column = npt.NDArray[Any]

ROWS_OF_GROUP: Final = 1 << 20
"""Rows that are written at once: an episode is a row group, unless it has more."""
SCHEMA_KEY: Final = b"ARROW:schema"
"""Under which pyarrow keeps types and descriptions of columns in a file."""


def write_parquet(path: Path, blocks: Iterator[Mapping[str, Column]], descriptions: Mapping[str, str]) -> None:
    """Write blocks of columns, which have the same names and types in each, as one Parquet file.

    What was not measured (NaN) is null: averages leave it out, and DuckDB takes no NaN for a number. Texts are handed
    over as numbers of a few texts, which took a quarter of the time of a table when they were looked up line by line;
    readers see them as plain texts. Scores hardly repeat, and are neither looked up nor have statistics.
    """
    import pyarrow
    import pyarrow.parquet

    writer: Any = None
    schema: Any = None
    waiting: list[Any] = []
    lines = 0

    def write_group() -> None:
        if waiting:
            writer.write_table(pyarrow.concat_tables(waiting).unify_dictionaries(), row_group_size=ROWS_OF_GROUP)
            waiting.clear()

    try:
        for columns in blocks:
            table = pyarrow.table({name: _as_arrow(pyarrow, column) for name, column in columns.items()})
            if writer is None:
                schema = table.schema
                repeating = [field.name for field in schema if not pyarrow.types.is_floating(field.type)]
                numbers = [field.name for field in schema if pyarrow.types.is_integer(field.type)]
                writer = pyarrow.parquet.ParquetWriter(
                    str(path), schema, use_dictionary=repeating, write_statistics=numbers, store_schema=False
                )
            waiting.append(table.cast(schema))
            lines += table.num_rows
            if lines >= ROWS_OF_GROUP:
                write_group()
                lines = 0
        write_group()
    finally:
        if writer is not None:
            described = _describe(pyarrow, schema, descriptions).serialize().to_pybytes()
            writer.add_key_value_metadata({SCHEMA_KEY: base64.b64encode(described)})
            writer.close()


def _as_arrow(pyarrow: Any, column: Column) -> Any:
    """Return a column as an array of pyarrow; texts as a dictionary."""
    is_constant = is_repeated(column) and len(column) > 0
    if column.dtype.kind == "O":
        if is_constant:
            return pyarrow.DictionaryArray.from_arrays(np.zeros(len(column), np.int32), [column[0]])
        return pyarrow.array(column, pyarrow.string()).dictionary_encode()
    if is_constant:
        return pyarrow.repeat(column[0], len(column))
    return pyarrow.array(column, from_pandas=True)


def _describe(pyarrow: Any, schema: Any, descriptions: Mapping[str, str]) -> Any:
    """Return the schema that readers see: texts as texts, and what each column holds."""
    return pyarrow.schema(
        [
            pyarrow.field(
                field.name,
                pyarrow.string() if pyarrow.types.is_dictionary(field.type) else field.type,
                metadata={"description": text} if (text := descriptions.get(field.name)) else None,
            )
            for field in schema
        ]
    )
