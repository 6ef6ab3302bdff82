"""Base of both kinds of `episode.json`: what is known before cameras are mapped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.datasets.base import Episode
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError
from capture.json_fields import JsonObject, is_safe_relative_path

NAME = "episode.json"
NO_PICTURES = 'names no pictures; each frame has "pictures": {"exterior": "FILE", "wrist": "FILE"}'


class EpisodeFile(ABC):
    """An `episode.json` before its cameras are mapped; subclasses are the two kinds."""

    kind: str
    cameras: tuple[str, ...]
    state_parts: Mapping[str, int]
    action_parts: Mapping[str, int]

    def __init__(self, content: JsonObject, folder: Path, number: int, name: str) -> None:
        self.content, self.folder, self.number, self.name = content, folder, number, name
        self.success = content.flag("success")
        rate = content.values.get("rate")
        if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < 10_000):
            raise UserError(f"'rate' in {content.where} is {rate!r}, but should be a number of frames per second")
        self.stated_rate = None if rate is None else float(rate)

    @property
    def place(self) -> str:
        """The episode's folder."""
        return str(self.folder)

    def find_file(self, name: Any, where: str) -> Path:
        """Return the path of a file that the episode names. Raises UserError for one outside its folder."""
        if not isinstance(name, str) or not is_safe_relative_path(name):
            raise UserError(f"{where} names a file outside its folder: {name}")
        return self.folder / name

    @abstractmethod
    def size(self, camera: str) -> tuple[int, int]:
        """Return height and width of a camera's first picture."""

    @abstractmethod
    def create(self, mapping: KeyMapping, horizon: int | None) -> Episode:
        """Return the episode; `horizon` None returns all true actions of each frame."""


def count_numbers(row: Any) -> int:
    """Return how many numbers a list holds, or the lists in it."""
    return sum(max(1, count_numbers(value)) for value in row) if isinstance(row, list) else 0


def make_parts(name: str, dims: int) -> dict[str, int]:
    """Return the state or action parts of an episode with one part of `dims` numbers; none where that is 0."""
    return {name: dims} if dims else {}


def read_numbers(
    values: Any, axes: int, where: str, noun: str, *, may_be_infinite: bool = False
) -> npt.NDArray[np.float64] | None:
    """Return nested lists as an array; None for None. Raises UserError for anything else.

    The array has `axes` axes; one more, such as that of two arms, is joined to the last one.
    """
    if values is None:
        return None
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim == axes + 1:
        array = array.reshape(*array.shape[: axes - 1], -1)
    if array.ndim != axes or not (may_be_infinite or np.isfinite(array).all()):
        fault = "a state that is not one list" if axes == 1 else f"{noun} that are not lists"
        raise UserError(f"{where} has {fault} of finite numbers")
    return array
