"""Cameras of a LeRobot episode: a part of a video, or a column of pictures in parquet.

Pictures of a video are found by time, as lerobot finds them (`datasets/video_utils.py`): the one nearest to the
episode's start in the video plus the row's timestamp. lerobot refuses distances beyond 1e-4 s; here these are accepted
where time and order agree on the picture, since recordings exist whose rows carry the clock of the hardware.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.images import (
    Pixels8,
    decode_picture,
    find_moved_file,
    picture_outline,
    picture_size,
    read_picture,
)
from capture.datasets.parquet import Parquet
from capture.datasets.video import Video, read_outline
from capture.errors import UserError
from capture.json_fields import is_safe_relative_path
from capture.provenance import Decision

TOLERANCE: Final = 1e-4
"""Distance of a picture from its row's time in seconds up to which it needs no other reason; lerobot's default."""


@dataclass(frozen=True)
class VideoCamera:
    """The pictures of one episode in a video that may hold several."""

    episode: str
    path: Path
    start: float
    """Seconds into the video at which the episode begins."""
    times: npt.NDArray[np.float64]
    """(frames,) seconds of the rows since the episode's start."""
    rate: float
    tolerance: float | None

    def size(self) -> tuple[int, int]:
        """Return height and width, from the video's header."""
        outline = read_outline(self.path)
        return outline.height, outline.width

    def orientation(self) -> tuple[int, str]:
        """Return EXIF's number of what puts the video upright, and what states it."""
        return read_outline(self.path).orientation, f"the display matrix of {self.path.name}"

    def length(self) -> int:
        """Return the number of rows."""
        return len(self.times)

    def find_distance(self, frames: Sequence[int]) -> float:
        """Return the largest distance of the pictures of `frames` from their rows' times in seconds, without decoding.

        Raises UserError as `pictures`.
        """
        chosen = np.asarray(frames)
        wanted_times = self.start + self.times[chosen]
        outline = read_outline(self.path)
        self._check_end(frames, self._find_end(outline.frames, outline.rate, outline.end))
        nearest = np.round(wanted_times * self.rate) / self.rate
        if not self._has_constant_rate(outline.rate) or (np.abs(nearest - wanted_times) > TOLERANCE).any():
            with Video(self.path) as video:  # the times of all pictures, from the packets
                shown = video.seconds()
            index_after = np.clip(np.searchsorted(shown, wanted_times), 1, max(len(shown) - 1, 1))
            earlier = shown[index_after - 1]
            later = shown[np.minimum(index_after, len(shown) - 1)]
            nearest = np.where(wanted_times - earlier <= later - wanted_times, earlier, later)
        farthest = float(np.abs(nearest - wanted_times).max())
        for frame, seconds in zip(frames, nearest, strict=True):
            self._check_distance(frame, float(seconds), farthest)
        return farthest

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """Yield the pictures of `frames` (ascending). Raises UserError where one is too far from its row's time."""
        with Video(self.path) as video:
            self._check_end(frames, self._find_end(video.stated_frames, video.rate, video.end))
            nearest = video.nearest([self.start + float(self.times[frame]) for frame in frames])
            for frame, (seconds, picture) in zip(frames, nearest, strict=True):
                self._check_distance(frame, seconds)
                yield picture

    def _has_constant_rate(self, rate: float | None) -> bool:
        return rate is not None and abs(rate / self.rate - 1) < 1e-3

    def _find_end(self, count: int, rate: float | None, end: float | None) -> float | None:
        """Return the seconds up to which a video has pictures, by its header's number of frames, rate and duration."""
        if not count or not self._has_constant_rate(rate):
            return end
        last = (count - 1) / self.rate + max(0.9 / self.rate, self.tolerance or 0.0)
        return last if end is None else min(last, end)

    def _check_end(self, frames: Sequence[int], end: float | None) -> None:
        last = self.start + float(self.times[frames[-1]]) if frames else 0.0
        if end is not None and last > end + TOLERANCE:
            count = int((self.start + self.times <= end + TOLERANCE).sum())
            advice = f"; --frames :{count} leaves the others out" if count else ""
            raise UserError(
                f"the video {self.path} has pictures up to {end:.2f} s, but frame {frames[-1]} of {self.episode} is at "
                f"{last:.2f} s{advice}"
            )

    def _check_distance(self, frame: int, seconds: float, farthest: float = 0.0) -> None:
        """Raise UserError where the picture at `seconds` into the video is not the one of a frame.

        `farthest` is the largest distance of all frames that are asked for, in seconds, for the advice.
        """
        row_time = self.start + float(self.times[frame])
        distance = abs(seconds - row_time)
        if distance <= (TOLERANCE if self.tolerance is None else self.tolerance):
            return
        is_own_by_order = abs(seconds - self.start - frame / self.rate) < 0.5 / self.rate
        if self.tolerance is None and is_own_by_order and distance < 1 / self.rate:
            return
        detail = "" if self.tolerance is not None else ", and is not its picture by order"
        tolerance = np.ceil(max(distance, farthest) * 1e3) / 1e3
        raise UserError(
            f"the picture of {self.path} that is nearest to frame {frame} of {self.episode}, at {row_time:.4f} s, is "
            f"{distance:.4f} s away{detail}; --tolerance {tolerance:g} takes the nearest up to that distance, as "
            "lerobot's tolerance_s does"
        )


@dataclass(frozen=True)
class PictureColumn:
    """The pictures of one episode in a parquet column, as bytes or as names of files."""

    folder: Path
    data: Parquet
    rows: range
    column: str

    def size(self) -> tuple[int, int]:
        """Return height and width of the first picture."""
        (first,) = self.data.each(self.column, self.rows[:1])
        content, where = self._locate(first, 0)
        return picture_size(content, where)

    def orientation(self) -> tuple[int, str]:
        """Return EXIF's number of what puts the first picture upright, and what states it."""
        (first,) = self.data.each(self.column, self.rows[:1])
        content, where = self._locate(first, 0)
        return picture_outline(content, where)[2], f"EXIF of the first picture in {self.data.path.name}"

    def length(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """Yield the pictures of `frames` (ascending), each decoded on demand."""
        values = self.data.each(self.column, [self.rows[frame] for frame in frames])
        for frame, value in zip(frames, values, strict=True):
            content, where = self._locate(value, frame)
            yield decode_picture(content, where) if isinstance(content, bytes) else read_picture(content)

    def _locate(self, value: Any, frame: int) -> tuple[bytes | Path, str]:
        where = f"{self.column} of frame {frame} in {self.data.path}"
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content, where
        if isinstance(path, str) and is_safe_relative_path(path):
            return self.folder / path, where
        if isinstance(path, str) and (moved := find_moved_file(self.folder, path)):
            return moved, where
        raise UserError(f"{where} is not a picture" + (f" in {self.folder}: {path}" if isinstance(path, str) else ""))


def describe_clock(farthest: float, slot: str, tolerance: float | None, *, has_clock: bool) -> Decision:
    """Return the decision on how rows are matched to pictures, with the largest distance in seconds."""
    clock = "the column timestamp" if has_clock else "the frame number"
    choice = f"the picture nearest to {clock}, at most {farthest:.2g} s away"
    if tolerance is not None:
        return Decision("clock", choice, f"by --tolerance {tolerance:g}", is_certain=True)
    if farthest <= TOLERANCE:
        return Decision("clock", choice, f"within lerobot's tolerance of {TOLERANCE:g} s", is_certain=True)
    reason = (
        f"{slot} is beyond lerobot's tolerance of {TOLERANCE:g} s, but the order of the pictures agrees; --tolerance "
        f"{TOLERANCE:g} refuses that"
    )
    return Decision("clock", choice, reason, is_certain=False)
