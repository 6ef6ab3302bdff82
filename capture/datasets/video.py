"""Frame-exact video decoding: frames by their time, decoded in ascending order and shown upright.

A display matrix of the container or of the stream (phones, cameras that are mounted on their side) is applied as
players do, as EXIF's orientation is to a picture file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from capture.datasets.hdf5 import is_lfs_pointer
from capture.datasets.images import Pixels8, check_size, turn_upright
from capture.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

CLOSE: Final = 1e-4
"""Distance in seconds at which a frame is taken without a look at the next one; lerobot's tolerance."""

SEEK_SECONDS: Final = 2.0
"""Distance to the next requested frame, in seconds, above which seeking is tried instead of decoding all between."""

_FORMATS: Final = ((4, b"ftyp", "mp4"), (0, b"\x1aE\xdf\xa3", "matroska"), (0, b"RIFF", "avi"), (4, b"moov", "mp4"))
"""Offset and signature of each container. FFmpeg gets the format, since it would follow playlists to other files."""


@dataclass(frozen=True)
class VideoOutline:
    """What is known of a video without reading it."""

    height: int
    width: int
    """Pixels of a picture as it is shown."""
    orientation: int
    """EXIF's number of what puts the stored pictures upright; 1 for nothing."""
    frames: int
    """Number of frames by the header; 0 where it states none."""
    rate: float | None
    end: float | None
    """Seconds at which the last frame ends, by the header; None where it has no duration."""


def read_outline(path: Path) -> VideoOutline:
    """Return the outline of a video file, from memory where the file is unchanged since. Raises UserError."""
    try:
        status = path.stat()
    except OSError:
        return _read_outline(path, 0, 0)
    return _read_outline(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _read_outline(path: Path, _size: int, _changed: int) -> VideoOutline:
    with Video(path) as video:
        return video.outline()


def to_orientation(matrix: npt.NDArray[np.int32]) -> int | None:
    """Return EXIF's number of a display matrix (9,) as ISO 14496-12 stores it; None for odd angles and no matrix.

    A point (x, y) of the stored picture is shown at (a x + c y, b x + d y), with y downwards.
    """
    if len(matrix) != 9:
        return None
    a, b, c, d = (float(matrix[place]) for place in (0, 1, 3, 4))
    straight, across = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, across) > 0.02 * max(straight, across) or straight == across:
        return None  # more than about 1 degree off
    signs = (a > 0, d > 0) if straight > across else (b > 0, c > 0)
    numbers = {(True, True): 1, (False, True): 2, (False, False): 3, (True, False): 4}
    crossed = {(True, True): 5, (True, False): 6, (False, False): 7, (False, True): 8}
    return (numbers if straight > across else crossed)[signs]


class Video:
    """Context manager of one video file. Every method raises UserError for a missing or damaged file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = _import_av()
        form = _detect_format(path)
        with self._errors_as_user_errors():
            self._container: InputContainer = self._av.open(f"file:{path}", format=form)
            if not self._container.streams.video:
                raise UserError(f"{path} has no video in it")
            self._stream: VideoStream = self._container.streams.video[0]
            codec = self._stream.codec_context
            if codec is None:  # None for an unknown codec, although PyAV's types exclude it
                raise UserError(f"the video {path} is of a codec that cannot be read, or damaged; convert it to H.264")
            codec.thread_type = "AUTO"
            self._stored_size = codec.height, codec.width
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.rate = float(rate) if rate else None
            self._tick: Fraction = self._stream.time_base or Fraction(1, 1)
            self.stated_frames = self._stream.frames
            """Number of frames by the header; 0 where it states none."""
            duration = self._stream.duration
            self.end = float(((self._stream.start_time or 0) + duration) * self._tick) if duration else None
            """Seconds at which the last frame ends, by the header; None where it has no duration."""
        height, width = self._stored_size
        check_size(path, width, height)
        if not height or not width:
            raise UserError(f"the video {path} does not say how large its pictures are; it may be damaged")
        self._orientation: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def seconds(self) -> npt.NDArray[np.float64]:
        """Return the time of each frame in seconds, (frames,) float64 ascending, from the packets without decoding."""
        ticks = []
        with self._errors_as_user_errors():
            self._container.seek(0)
            for packet in self._container.demux(self._stream):
                if packet.size and not packet.is_discard:
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    if stamp is None:
                        raise UserError(f"the video {self.path} has frames without a time; convert it to MP4")
                    ticks.append(stamp)
        if not ticks or len(ticks) < self.stated_frames:
            raise UserError(
                f"the video {self.path} is cut off: {len(ticks)} of the {self.stated_frames} frames are there"
            )
        return np.sort(np.array(ticks, dtype=np.float64)) * float(self._tick)

    def outline(self) -> VideoOutline:
        """Return what the header and the first frame state; that frame is decoded, since it may be stored turned."""
        _, first = self._seek(0.0)
        if first is None:
            raise UserError(f"the video {self.path} has no frame that can be decoded; it may be cut off or damaged")
        orientation = self._find_orientation(first[1])
        height, width = self._stored_size if orientation < 5 else self._stored_size[::-1]
        return VideoOutline(height, width, orientation, self.stated_frames, self.rate, self.end)

    def pictures(self, times: Sequence[float], tolerance: float) -> Iterator[Pixels8]:
        """Yield the pictures at ascending times in seconds, (height, width, 3) uint8 RGB, each decoded on demand.

        The frame of a time is at most `tolerance` seconds away. Raises UserError where there is none.
        """
        for time, (seconds, picture) in zip(times, self.nearest(times), strict=True):
            if abs(seconds - time) > tolerance:
                raise UserError(f"the video {self.path} has no frame at {time:.3f} s; it may be cut off or damaged")
            yield picture

    def nearest(self, times: Sequence[float]) -> Iterator[tuple[float, Pixels8]]:
        """Yield time in seconds and picture of the frame nearest to each of `times`; of two, the earlier one.

        Pictures are (height, width, 3) uint8 RGB, each decoded on demand. Times that ascend are decoded once.
        """
        previous: tuple[float, Any] | None = None
        current: tuple[float, Any] | None = None
        decoded: Iterator[tuple[float, Any]] = iter(())
        may_seek = True
        for time in times:
            if current is None or time < (previous or current)[0] - CLOSE:
                decoded, current = self._seek(time)
                previous = None
            elif may_seek and time - current[0] > SEEK_SECONDS:
                previous_seconds = current[0]
                decoded, current = self._seek(time)
                previous = None
                # A key frame before the frames that are decoded already means that seeking gains nothing.
                may_seek = current is not None and current[0] > previous_seconds
            while current is not None and current[0] < time - CLOSE:
                following = self._next(decoded)
                if following is None:
                    break
                previous, current = current, following
            if current is None:
                raise UserError(f"the video {self.path} has no frame at {time:.3f} s; it may be cut off or damaged")
            is_earlier = previous is not None and time - previous[0] <= current[0] - time
            seconds, frame = previous if previous is not None and is_earlier else current
            yield seconds, self._to_rgb(frame)

    def _seek(self, time: float) -> tuple[Iterator[tuple[float, Any]], tuple[float, Any] | None]:
        """Seek to a frame at or before `time`. Returns the frames after it and the frame itself."""
        reach = 0.5 / self.rate if self.rate else 0.05
        for margin in (0.0, 1.0, 10.0, np.inf):  # a key frame stored before `time` may be shown after it
            start = max(0.0, time - reach - margin)
            with self._errors_as_user_errors():
                self._container.seek(int(start / self._tick), stream=self._stream, backward=True)
            decoded = self._decode()
            first = self._next(decoded)
            if start == 0.0 or (first is not None and first[0] <= time):
                break
        return decoded, first

    def _decode(self) -> Iterator[tuple[float, Any]]:
        for frame in self._container.decode(self._stream):
            if frame.pts is not None:
                yield float(frame.pts * self._tick), frame

    def _next(self, decoded: Iterator[tuple[float, Any]]) -> tuple[float, Any] | None:
        with self._errors_as_user_errors():
            return next(decoded, None)

    def _to_rgb(self, frame: Any) -> Pixels8:
        if (frame.height, frame.width) != self._stored_size:
            raise UserError(f"the pictures of the video {self.path} change their size; convert it to one size")
        with self._errors_as_user_errors():
            picture: Pixels8 = frame.to_ndarray(format="rgb24")
        orientation = self._find_orientation(frame)
        return picture if orientation == 1 else turn_upright(picture, orientation)

    def _find_orientation(self, frame: Any) -> int:
        """Return EXIF's number of the video's orientation, from the first frame that is decoded."""
        if self._orientation is None:
            matrices = [bytes(entry) for entry in frame.side_data if entry.type.name == "DISPLAYMATRIX"]
            orientation = to_orientation(np.frombuffer(matrices[0], np.int32)) if matrices else 1
            if orientation is None:
                raise UserError(
                    f"the video {self.path} is to be shown turned by an angle other than 90, 180 or 270 degrees; "
                    "convert it to upright pictures with ffmpeg"
                )
            self._orientation = orientation
        return self._orientation

    @contextmanager
    def _errors_as_user_errors(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"the video {self.path} cannot be read, it may be cut off or damaged ({reason[:120]})"
            ) from error


def _import_av() -> ModuleType:
    try:
        import av
    except ModuleNotFoundError:
        raise UserError("reading videos needs the package av; run pip install 'pi0-attention[datasets]'") from None
    return av


def _detect_format(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise UserError(f"the video {path} is missing") from None
    except OSError as error:
        raise UserError(f"the video {path} cannot be read ({error.strerror})") from error
    for offset, signature, format_name in _FORMATS:
        if start[offset : offset + len(signature)] == signature:
            return format_name
    if is_lfs_pointer(path):
        raise UserError(f"the video {path} is only a Git LFS pointer; run `git lfs pull` to fetch the file itself")
    raise UserError(f"{path} is not a video that can be read (MP4, Matroska, WebM or AVI), or its start is damaged")
