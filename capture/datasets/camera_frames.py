"""The pictures of one camera in one episode: a video, half of a stereo video, or a folder of picture files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from capture.datasets.images import ORIENTATIONS, Pixels8, picture_outline, picture_size, read_picture
from capture.datasets.video import Video, read_outline
from capture.errors import UserError
from capture.provenance import Decision

Half = Literal["left", "right"]

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class CameraFrames(Protocol):
    """The pictures of one camera in one episode. Every method raises UserError for missing or damaged files."""

    def size(self) -> tuple[int, int]:
        """Return height and width, from a header alone."""

    def orientation(self) -> tuple[int, str]:
        """Return EXIF's number of what puts the stored pictures upright, and what states it."""

    def length(self) -> int:
        """Return the number of frames, from a header alone where that states it."""

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """Yield the pictures of `frames` (ascending), each decoded on demand."""


@dataclass(frozen=True)
class VideoFile:
    """A video of one episode; frames count from 0 in presentation order."""

    path: Path
    half: Half | None = None
    """Half of the picture in a stereo video with both eyes side by side; None for the whole picture."""

    def size(self) -> tuple[int, int]:
        """Return height and width of a picture, or of its half."""
        outline = read_outline(self.path)
        return outline.height, outline.width // 2 if self.half else outline.width

    def orientation(self) -> tuple[int, str]:
        """Return EXIF's number of what puts the stored pictures upright, and what states it."""
        return read_outline(self.path).orientation, f"the display matrix of {self.path.name}"

    def length(self) -> int:
        """Return the number of frames, by the header or counted without decoding them."""
        if frames := read_outline(self.path).frames:
            return frames
        with Video(self.path) as video:
            return len(video.seconds())

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """Yield the pictures of `frames` (ascending), each decoded on demand."""
        with Video(self.path) as video:
            seconds = video.seconds()
            if frames and frames[-1] >= len(seconds):
                raise UserError(f"the video {self.path} has {len(seconds)} frames and no frame {frames[-1]}")
            step = float(np.diff(seconds).min()) if len(seconds) > 1 else 1.0
            if step <= 0:
                raise UserError(f"the video {self.path} has two frames at one time; convert it to a constant rate")
            for picture in video.pictures([float(seconds[frame]) for frame in frames], step * 0.49):
                middle = picture.shape[1] // 2
                halves = {None: picture, "left": picture[:, :middle], "right": picture[:, middle:]}
                yield np.ascontiguousarray(halves[self.half])


@dataclass(frozen=True)
class PictureFolder:
    """A folder of picture files named by frame number, such as 00000.jpg; the lowest number is frame 0."""

    folder: Path

    def size(self) -> tuple[int, int]:
        """Return height and width of the first picture."""
        first = self._list_files()[0]
        return picture_size(first, first)

    def orientation(self) -> tuple[int, str]:
        """Return EXIF's number of what puts the first picture upright, and what states it."""
        first = self._list_files()[0]
        return picture_outline(first, first)[2], f"EXIF in {first.name}"

    def length(self) -> int:
        """Return the number of picture files."""
        return len(self._list_files())

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """Yield the pictures of `frames` (ascending), each decoded on demand."""
        files = self._list_files()
        return (read_picture(files[frame]) for frame in frames)

    def _list_files(self) -> list[Path]:
        numbered: dict[int, Path] = {}
        try:
            paths = list(self.folder.iterdir())
        except OSError as error:
            raise UserError(f"the folder of pictures {self.folder} cannot be read ({error.strerror})") from error
        for path in paths:
            if path.suffix.lower() in PICTURE_ENDINGS and path.stem.isdecimal() and len(path.stem) < 10:
                if int(path.stem) in numbered:
                    raise UserError(f"{self.folder} has two pictures of frame {int(path.stem)}; remove one of them")
                numbered[int(path.stem)] = path
        if not numbered:
            raise UserError(f"{self.folder} has no pictures named by frame number, such as 00000.jpg")
        first = min(numbered)
        for number in range(first, first + len(numbered)):
            if number not in numbered:
                raise UserError(f"the picture of frame {number} is missing in {self.folder}")
        return [numbered[number] for number in sorted(numbered)]


def count_common_frames(rows: Mapping[str, int], cameras: Mapping[str, CameraFrames]) -> tuple[int, Decision | None]:
    """Return the number of leading frames that all data and all cameras have, and which of them have more.

    `rows` maps other data, such as "the states", to their number of rows. Row i belongs to picture i.
    """
    counts = {f"the {slot} camera": camera.length() for slot, camera in cameras.items()}
    counts |= rows
    least, most = min(counts.values()), max(counts.values())
    if not least:
        raise UserError(f"{next(name for name, count in counts.items() if not count)} has no frames")
    if least == most:
        return least, None
    listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
    numbers = f"{least} is" if most == least + 1 else f"{least} to {most - 1} are"
    return least, Decision("frames", f"0 to {least - 1}; {numbers} left out", f"{listed} frames", is_certain=False)


def describe_orientations(cameras: Mapping[str, CameraFrames]) -> list[Decision]:
    """Return a decision for each camera whose pictures are not shown as they are stored."""
    decisions = []
    for slot, camera in cameras.items():
        orientation, origin = camera.orientation()
        if orientation != 1:
            subject = f"orientation of the {slot} pictures"
            decisions.append(Decision(subject, ORIENTATIONS[orientation], f"by {origin}", is_certain=True))
    return decisions


def read_cameras(cameras: Mapping[str, CameraFrames], frames: Sequence[int]) -> Iterator[dict[str, Pixels8]]:
    """Yield camera -> picture for each of `frames` (ascending). Raises UserError where a camera has fewer."""
    if not cameras:
        yield from ({} for _ in frames)
        return
    for pictures in zip(*(camera.pictures(frames) for camera in cameras.values()), strict=True):
        yield dict(zip(cameras, pictures, strict=True))
