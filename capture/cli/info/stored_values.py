"""Checked reading of small values from a results file that may come from anywhere."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import numpy as np

from capture.results.read_access import LARGEST_READ, find_dataset
from capture.terminal_text import replace_control_characters


def read_first(file: h5py.File, name: str, axes: int, finished: int) -> np.ndarray[Any, Any]:
    """Return the finished frames of a small dataset, or as many of them as may be read at once."""
    dataset = find_dataset(file, name, axes)
    row = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
    chunk = dataset.dtype.itemsize * math.prod(dataset.chunks or (1,))
    if max(row, chunk) > LARGEST_READ:
        raise ValueError(f"{name} is too large")
    return np.asarray(dataset[: min(finished, dataset.shape[0], max(1, LARGEST_READ // max(1, row)))])


def read_texts(file: h5py.File, name: str, finished: int) -> list[str]:
    """Return the texts of the finished frames."""
    return [_to_text(value) for value in read_first(file, name, 1, finished)]


def _to_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def read_attribute(file: h5py.File, name: str, default: Any = None) -> Any:
    """Return an attribute of the file. Raises KeyError where it is missing and has no default, ValueError if large."""
    if name not in file.attrs:
        if default is None:
            raise KeyError(f"attribute {name} is missing")
        return default
    if file.attrs.get_id(name).get_storage_size() > 1 << 20:
        raise ValueError(f"attribute {name} is too large")
    value = file.attrs[name]
    return _to_text(value) if isinstance(value, bytes) else value


def read_json(file: h5py.File, name: str) -> dict[str, Any]:
    """Return an attribute that holds a JSON object. Raises TypeError for other JSON, ValueError for none."""
    value = json.loads(read_attribute(file, name))
    if not isinstance(value, dict):
        raise TypeError(f"attribute {name} is no JSON object")
    return value


def clean(text: str, width: int) -> str:
    """Return `text` without terminal control characters, cut to `width`."""
    shown = replace_control_characters(text[: width + 1])
    return shown if len(text) <= width else shown[: width - 1] + "…"
