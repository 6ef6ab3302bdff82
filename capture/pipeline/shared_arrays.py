"""Where arrays lie in memory that several processes see: told by the one, looked up by the others. No torch."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ArrayLocation:
    """Where another process finds an array that lies in a slot (staging.py)."""

    ident: int
    """Of its slot; no two ever have the same."""
    file: str
    size: int
    """Bytes of the slot."""
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


class BufferMappings:
    """Slots of another process, as this one sees them."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[mmap.mmap, str, int]] = {}
        """Ident -> memory, its file, and by which number the system knows that."""

    def array(self, place: ArrayLocation) -> npt.NDArray[Any]:
        """The array at this place; it shares the slot's memory."""
        return np.ndarray(place.shape, np.dtype(place.dtype), self._memory(place), place.offset, place.strides)

    def _memory(self, place: ArrayLocation) -> mmap.mmap:
        if place.ident not in self._seen:
            self._forget()
            with Path(place.file).open("r+b") as file:
                number = os.fstat(file.fileno()).st_ino
                self._seen[place.ident] = mmap.mmap(file.fileno(), place.size), place.file, number
        return self._seen[place.ident][0]

    def _forget(self) -> None:
        """Let go of slots that the other process has given back."""
        for ident, (_, file, number) in list(self._seen.items()):
            try:
                there = Path(file).stat().st_ino == number
            except OSError:
                there = False
            if not there:
                del self._seen[ident]
