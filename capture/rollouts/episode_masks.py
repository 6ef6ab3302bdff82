"""Masks of an episode's frames, packed until its file of regions is written."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from capture.datasets.regions.source import Masks

MAX_BYTES: Final = 256 << 20
"""Memory for the masks of one episode. One of 256 x 256 pixels takes some 300 bytes, of 1280 x 720 some 2 kB."""

Key = tuple[str, str]
"""Region and camera."""


class EpisodeMasks:
    """Packed masks of the frames of one results file, in order; at most `MAX_BYTES` of them. Not thread-safe."""

    def __init__(self) -> None:
        self._frames: list[dict[Key, tuple[bytes, tuple[int, int]]]] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether there were more masks than are kept; then none are."""
        return self._bytes > MAX_BYTES

    def add(self, masks: Masks) -> None:
        """Keep the masks of the next frame, which has none where it is empty."""
        packed: dict[Key, tuple[bytes, tuple[int, int]]] = {}
        if masks and not self.is_full:
            for key, mask in masks.items():
                height, width = mask.shape
                packed[key] = zlib.compress(np.packbits(mask).tobytes(), 1), (height, width)
                self._bytes += len(packed[key][0])
        self._frames.append(packed)
        if self.is_full:
            self._frames.clear()

    @property
    def cameras(self) -> Mapping[str, tuple[str, ...]]:
        """The regions that are known in some frame, in order, and the cameras in which they are."""
        found: dict[str, dict[str, None]] = {}
        for name, camera in (key for frame in self._frames for key in frame):
            found.setdefault(name, {})[camera] = None
        return {name: tuple(cameras) for name, cameras in found.items()}

    def read(self, frame: int) -> Masks:
        """Return the masks of a frame."""
        found = {}
        for key, (packed, (height, width)) in self._frames[frame].items():
            bits = np.frombuffer(zlib.decompress(packed), np.uint8)
            found[key] = np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)
        return found
