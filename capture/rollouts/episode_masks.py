"""Masks of an episode's frames, packed in a hidden file beside its recording until its file of regions is written.

Each frame with masks is one record: a line of JSON, `{"frame": 3, "masks": [["duck", "exterior", 180, 320, 95]]}` with
region, camera, height, width and bytes of each mask, and the masks, bits packed by zlib. A killed process leaves the
records that it had written, of which the last may be torn.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from capture.datasets.regions.source import Masks
from capture.errors import UserError
from capture.results.regions_schema import is_name

MAX_LINE: Final = 1 << 18
"""Bytes of a line of JSON: 64 regions in 3 cameras take 15 kB."""
MAX_PIXELS: Final = 1 << 26
"""Pixels of a mask that is read back."""


@dataclass(frozen=True)
class _Place:
    """Where a packed mask lies."""

    start: int
    count: int
    height: int
    width: int


_Places = Mapping[tuple[str, str], _Place]
"""By region and camera."""


def masks_path(results: Path) -> Path:
    """Return where the masks of a results file (by its final name) are kept while it is recorded."""
    return results.with_name(f".{results.name.removesuffix('.h5')}.masks.partial")


class EpisodeMasks:
    """Packed masks of the frames of one results file. Not thread-safe.

    The file is made with the first masks. Where it cannot be written, `problem` says why, and no mask is kept.
    """

    def __init__(self, results: Path) -> None:
        """`results`: the results file, by its final name."""
        self.path = masks_path(results)
        self.problem = ""
        self._file: BinaryIO | None = None
        self._frames: dict[int, _Places] = {}

    @classmethod
    def read_back(cls, results: Path) -> EpisodeMasks:
        """Return the masks that a killed process had written; none where it had none, or where they are damaged."""
        masks = cls(results)
        with contextlib.suppress(OSError):
            masks._file = masks.path.open("rb")
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                while masks._read_record(masks._file):
                    pass
        return masks

    def _read_record(self, file: BinaryIO) -> bool:
        """Read the outline of the next record; return False at the end. Raises ValueError for a torn one."""
        line = file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            return False
        record = json.loads(line)
        start, places = file.tell(), {}
        for name, camera, *numbers in record["masks"]:
            height, width, count = map(int, numbers)
            is_valid = is_name(name) and height > 0 and width > 0 and 0 < count <= height * width + 64
            if not is_valid or height * width > MAX_PIXELS:
                return False
            places[name, str(camera)] = _Place(start, count, height, width)
            start += count
        file.seek(0, 2)
        if file.tell() < start:
            return False
        file.seek(start)
        self._frames[int(record["frame"])] = places
        return True

    def add(self, frame: int, masks: Masks) -> None:
        """Keep the masks of a frame, if there are any."""
        if not masks or self.problem:
            return
        packed = [zlib.compress(np.packbits(mask).tobytes(), 1) for mask in masks.values()]
        shapes = [(*key, *mask.shape, len(data)) for (key, mask), data in zip(masks.items(), packed, strict=True)]
        line = json.dumps({"frame": frame, "masks": shapes}).encode() + b"\n"
        try:
            if self._file is None:
                self._file = self.path.open("w+b")
            start = self._file.seek(0, 2) + len(line)
            self._file.write(b"".join((line, *packed)))
            self._file.flush()
        except OSError as error:
            self.problem = error.strerror or str(error)
            return
        places = {}
        for name, camera, height, width, count in shapes:
            places[name, camera] = _Place(start, count, height, width)
            start += count
        self._frames[frame] = places

    @property
    def cameras(self) -> Mapping[str, tuple[str, ...]]:
        """The regions that are known in some frame, in order, and the cameras in which they are."""
        cameras: dict[str, dict[str, None]] = {}
        for name, camera in (key for places in self._frames.values() for key in places):
            cameras.setdefault(name, {})[camera] = None
        return {name: tuple(known) for name, known in cameras.items()}

    def read(self, frame: int) -> Masks:
        """Return the masks of a frame. Raises UserError where they cannot be read."""
        return {key: self._unpack(place) for key, place in self._frames.get(frame, {}).items()}

    def _unpack(self, place: _Place) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        assert self._file is not None
        size = place.height * place.width
        try:
            self._file.seek(place.start)
            bits = zlib.decompressobj().decompress(self._file.read(place.count), -(-size // 8))
            return np.unpackbits(np.frombuffer(bits, np.uint8), count=size).reshape(place.height, place.width) > 0
        except (OSError, ValueError, zlib.error) as error:
            raise UserError(f"{self.path} is damaged ({error})") from None

    def close(self, *, is_kept: bool) -> None:
        """Close the file, and remove it unless `is_kept`."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # of a full disk, which has been noted
            self._file.close()
        self._file = None
        if not is_kept:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
