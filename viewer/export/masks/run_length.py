"""Run-length encoding of masks as in COCO and pycocotools (https://cocodataset.org/#format-data): columns first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.regions.region import Mask

MAX_COUNTS = 10_000_000
MAX_PIXELS = 1 << 26


def encode(mask: Mask) -> dict[str, Any]:
    """Return a mask (height, width) as COCO's compressed run-length encoding: `size` and the text `counts`."""
    flat = np.asarray(mask, np.bool_).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist() if flat.size else []
    return {"size": list(mask.shape), "counts": _pack(counts)}


def decode(encoded: dict[str, Any]) -> Mask:
    """Return the mask (height, width) of an encoding whose `counts` are a text or a list of numbers.

    Raises:
        ValueError: The encoding is damaged.
    """
    size, counts = encoded.get("size"), encoded.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(isinstance(side, int) and 0 < side < 65536 for side in size)
    ):
        raise ValueError("its size is not two numbers of pixels")
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"its size is more than {MAX_PIXELS} pixels")
    runs = _unpack(counts) if isinstance(counts, str) else counts
    if (
        not isinstance(runs, list)
        or len(runs) > MAX_COUNTS
        or not all(isinstance(run, int) and run >= 0 for run in runs)
    ):
        raise ValueError("its counts are no run lengths")
    if sum(runs) != height * width:
        raise ValueError(f"its run lengths make {sum(runs)} pixels instead of {height} × {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(height, width, order="F")


def _pack(counts: Sequence[int]) -> str:
    """Return run lengths as text: differences to the run before last in groups of 5 bits, low ones first, from `0`."""
    text = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text.append(chr((bits | (0x20 if more else 0)) + 48))
    return "".join(text)


def _unpack(text: str) -> list[int]:
    """Return the run lengths of a text that `_pack` or pycocotools made; ValueError if it is damaged."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            if place >= len(text) or not 0 <= ord(text[place]) - 48 < 64 or shift > 60:
                raise ValueError("its counts are damaged")
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more, place, shift = bool(bits & 0x20), place + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
