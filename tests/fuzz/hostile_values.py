"""Files that are whole as HDF5, JSON or Parquet, with contents that no program of ours writes: seeded changes."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS: Final = (
    "",
    "a\0b",
    "\u202eevil\x1b[2J",
    "<img src=/etc/passwd>",
    "../../x",
    "/etc/passwd",
    "x" * 70_000,
    "=cmd()",
)
NUMBERS: Final = (0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 10**30, 1e308, 0.5, float("nan"), float("inf"))


def nest(depth: int) -> list[Any]:
    """Return a list within a list, and so on."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def choose_value(rng: np.random.Generator) -> Any:
    """Return a value of JSON of any type."""
    kind = int(rng.integers(6))
    if kind == 0:
        return TEXTS[int(rng.integers(len(TEXTS)))]
    if kind in (1, 2):
        return NUMBERS[int(rng.integers(len(NUMBERS)))]
    if kind == 3:
        return (None, True, False)[int(rng.integers(3))]
    if kind == 4:
        return ([], {}, [None], {"": 1}, [[0, 0], [0]], {"a": {"b": []}})[int(rng.integers(6))]
    return (nest(60), list(range(3000)), "\ud800", "7")[int(rng.integers(4))]


def change_json(value: Any, rng: np.random.Generator) -> Any:
    """Return a value of JSON in which one to three places, at any depth, have other values, are gone or are twice."""
    value = json.loads(json.dumps(value))
    for _ in range(int(rng.integers(1, 4))):
        places = list(_list_places(value))
        if not places:
            return choose_value(rng)
        container, key = places[int(rng.integers(len(places)))]
        kind = int(rng.integers(6))
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, list):
            container.insert(0, container[key])
        elif kind == 1:
            container[TEXTS[int(rng.integers(len(TEXTS)))]] = container[key]
        elif kind == 2 and isinstance(container[key], int | float):
            container[key] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        elif kind == 2 and isinstance(container[key], str):
            container[key] = TEXTS[int(rng.integers(len(TEXTS)))]
        else:
            container[key] = choose_value(rng)
    return value


def _list_places(value: Any) -> Any:
    """Yield every container of a value with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _list_places(item)


def damage_text(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a text with single bytes changed, cut off, or with a part twice or of zeros."""
    data, offset = bytearray(content), int(rng.integers(len(content)))
    kind = int(rng.integers(5))
    if kind == 0:
        for position in rng.integers(len(data), size=int(rng.integers(1, 20))):
            data[position] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[offset:]
    elif kind == 2:
        data[offset:offset] = data[max(0, offset - 100) : offset]
    elif kind == 3:
        data[offset : offset + 512] = bytes(len(data[offset : offset + 512]))
    else:
        data[offset:offset] = b"[" * 100_000  # deeper than a parser of JSON goes
    return bytes(data)


def change_text(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a text of JSON that is damaged, or whole with other values."""
    if rng.random() < 0.4:
        return damage_text(content, rng)
    return json.dumps(change_json(json.loads(content), rng)).encode()


def change_hdf5(path: Path, rng: np.random.Generator) -> None:
    """Change one to three attributes, datasets or groups of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.integers(1, 4))):
            names: list[str] = []
            file.visit(names.append)
            owner = file if not names or rng.random() < 0.2 else file[names[int(rng.integers(len(names)))]]
            if len(owner.attrs) and rng.random() < 0.5:
                _change_attribute(owner, rng)
            elif names:
                _change_place(file, names[int(rng.integers(len(names)))], rng)


def _change_attribute(owner: Any, rng: np.random.Generator) -> None:
    names = sorted(owner.attrs)
    name = names[int(rng.integers(len(names)))]
    before = owner.attrs[name]
    kind = int(rng.integers(4))
    del owner.attrs[name]
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):  # no such attribute can be stored
        if kind == 1:
            owner.attrs[name] = h5py.Empty("f8")
        elif kind == 2 and isinstance(before, str) and before.startswith(("{", "[")):
            owner.attrs[name] = json.dumps(change_json(json.loads(before), rng))
        elif kind >= 2:
            owner.attrs[name] = choose_value(rng)


def _change_place(file: Any, name: str, rng: np.random.Generator) -> None:
    place = file[name]
    changes: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: _link(file, name, h5py.SoftLink("/")),
        lambda: _link(file, name, h5py.ExternalLink("/etc/passwd", "/")),
        lambda: file.create_group(name) and None,
    )
    kind = int(rng.integers(10))
    values = place[()] if isinstance(place, h5py.Dataset) else None
    if kind == 9 and values is not None:
        file.move(name, f"{name}-moved")
        return
    del file[name]
    if values is None or kind < len(changes):
        changes[kind % len(changes)]()
        return
    values = np.asarray(values)
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):
        file.create_dataset(name, data=_change_array(values, kind, rng))


def _link(file: Any, name: str, link: Any) -> None:
    file[name] = link


def _change_array(values: Any, kind: int, rng: np.random.Generator) -> Any:
    """Return other values: of another type, another shape, no length, or numbers beyond all that is meant."""
    if kind == 4:
        return values.astype(("f8", "i8", "u1", "S3", "c16", "?")[int(rng.integers(6))], casting="unsafe")
    if kind == 5:
        return values[..., None] if rng.random() < 0.5 else values.reshape(-1)
    if kind == 6:
        axis = int(rng.integers(max(values.ndim, 1)))
        return values[(slice(None),) * axis + (slice(0, int(rng.integers(2))),)] if values.ndim else values[None]
    if values.dtype.kind in "OSU":
        return np.array([TEXTS[int(rng.integers(len(TEXTS)))].replace("\0", "")] * max(values.size, 1), object).reshape(
            values.shape
        )
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    changed = values.copy()
    with np.errstate(all="ignore"):
        changed[rng.random(values.shape) < (1.0 if kind == 7 else 0.05)] = np.array(number).astype(values.dtype)
    return changed


def change_parquet(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a Parquet file with a column of another type, gone, twice, of nulls or of other numbers, or rows gone."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(content))
    place = int(rng.integers(table.num_columns))
    name, kind = table.column_names[place], int(rng.integers(7))
    if kind == 0:
        table = table.drop_columns([name])
    elif kind == 1:
        table = table.append_column(name, table.column(place))
    elif kind == 2:
        texts = pyarrow.array([TEXTS[int(rng.integers(len(TEXTS)))]] * table.num_rows, pyarrow.string())
        table = table.set_column(place, name, texts)
    elif kind == 3:
        table = table.set_column(place, name, pyarrow.nulls(table.num_rows, table.schema.field(place).type))
    elif kind == 4:
        numbers = rng.choice(np.array([0, -1, 2**31, 2**62, -(2**62)], np.int64), table.num_rows)
        table = table.set_column(place, name, pyarrow.array(numbers))
    elif kind == 5:
        numbers = rng.choice(np.array([0, -1, 1e308, -1e308, np.nan, np.inf, 1e30]), table.num_rows)
        table = table.set_column(place, name, pyarrow.array(numbers))
    else:
        table = table.slice(0, int(rng.integers(3)))
    output = io.BytesIO()
    pyarrow.parquet.write_table(table, output)
    return output.getvalue()
