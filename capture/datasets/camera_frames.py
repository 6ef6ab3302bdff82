"""What a camera saw in one episode, frame by frame: a video, half of a stereo video, or a folder of picture files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from capture.datasets.images import Pixels8, picture_size, read_picture
from capture.datasets.video import Video
from capture.errors import UserError

Half = Literal["left", "right"]

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Film(Protocol):
    """One camera's pictures of one episode. All of it raises UserError for files that are missing or damaged."""

    def size(self) -> tuple[int, int]:
        """Height and width, by the header alone."""

    def length(self) -> int:
        """Frames."""

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """The pictures of these frames, rising, each decoded as it is asked for."""


@dataclass(frozen=True)
class VideoFilm:
    """A video of its own, its frames counted from 0 in the order in which they are shown."""

    path: Path
    half: Half | None = None
    """Which half of pictures that hold both eyes of a stereo camera side by side; None for whole pictures."""

    def size(self) -> tuple[int, int]:
        """Height and width of a picture, or of its half."""
        with Video(self.path) as video:
            return video.height, video.width // 2 if self.half else video.width

    def length(self) -> int:
        """Frames, counted without decoding them."""
        with Video(self.path) as video:
            return len(video.seconds())

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """See `Film`."""
        with Video(self.path) as video:
            seconds = video.seconds()
            if frames and frames[-1] >= len(seconds):
                raise UserError(f"the video {self.path} has {len(seconds)} frames and no frame {frames[-1]}")
            step = float(np.diff(seconds).min()) if len(seconds) > 1 else 1.0
            if step <= 0:
                raise UserError(f"the video {self.path} has two frames at one time; convert it to a constant rate")
            for picture in video.pictures([float(seconds[frame]) for frame in frames], step * 0.49):
                middle = picture.shape[1] // 2
                eyes = {None: picture, "left": picture[:, :middle], "right": picture[:, middle:]}
                yield np.ascontiguousarray(eyes[self.half])


@dataclass(frozen=True)
class FilesFilm:
    """A folder of picture files that are named by their numbers, such as 00000.jpg."""

    folder: Path

    def size(self) -> tuple[int, int]:
        """Height and width of the first picture."""
        first = self._files()[0]
        return picture_size(first, first)

    def length(self) -> int:
        """Picture files."""
        return len(self._files())

    def pictures(self, frames: Sequence[int]) -> Iterator[Pixels8]:
        """See `Film`; the lowest number is frame 0."""
        files = self._files()
        return (read_picture(files[frame]) for frame in frames)

    def _files(self) -> list[Path]:
        numbered: dict[int, Path] = {}
        try:
            found = list(self.folder.iterdir())
        except OSError as error:
            raise UserError(f"the folder of pictures {self.folder} cannot be read ({error.strerror})") from error
        for path in found:
            if path.suffix.lower() in PICTURE_ENDINGS and path.stem.isdecimal() and len(path.stem) < 10:
                if int(path.stem) in numbered:
                    raise UserError(f"{self.folder} has two pictures of frame {int(path.stem)}; remove one of them")
                numbered[int(path.stem)] = path
        if not numbered:
            raise UserError(f"{self.folder} has no pictures that are named by their numbers, such as 00000.jpg")
        first = min(numbered)
        for number in range(first, first + len(numbered)):
            if number not in numbered:
                raise UserError(f"the picture of frame {number} is missing in {self.folder}")
        return [numbered[number] for number in sorted(numbered)]


def together(
    episode: str, films: Mapping[str, Film], frames: Sequence[int], length: int | None
) -> Iterator[dict[str, Pixels8]]:
    """The pictures of several cameras at the same frames, camera -> picture.

    `length` is how many frames the rest of the episode has; None where the cameras alone tell, which must then agree.
    Raises UserError where a camera has fewer.
    """
    if not films:
        yield from ({} for _ in frames)
        return
    counts = {camera: film.length() for camera, film in films.items()}
    if length is None and len(set(counts.values())) > 1:
        told = ", ".join(f"{camera} {count}" for camera, count in counts.items())
        raise UserError(f"the cameras of {episode} differ in length: {told} frames")
    for camera, count in counts.items():
        if length is not None and count < length:
            raise UserError(f"the {camera} camera of {episode} has {count} frames, but the episode has {length}")
    for seen in zip(*(film.pictures(frames) for film in films.values()), strict=True):
        yield dict(zip(films, seen, strict=True))
