"""Frame-exact video decoding: frames by their time, decoded in ascending order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from capture.datasets.hdf5 import is_lfs_pointer
from capture.datasets.images import Pixels8, check_size
from capture.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

SEEK_SECONDS: Final = 2.0
"""Distance to the next requested frame, in seconds, above which seeking is tried instead of decoding all between."""

_FORMATS: Final = ((4, b"ftyp", "mp4"), (0, b"\x1aE\xdf\xa3", "matroska"), (0, b"RIFF", "avi"), (4, b"moov", "mp4"))
"""Offset and signature of each container. FFmpeg gets the format, since it would follow playlists to other files."""


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
            self.height, self.width = codec.height, codec.width
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.rate = float(rate) if rate else None
            self._tick: Fraction = self._stream.time_base or Fraction(1, 1)
            self._stated_frames = self._stream.frames
            duration = self._stream.duration
            self.end = float(((self._stream.start_time or 0) + duration) * self._tick) if duration else None
            """Seconds at which the last frame ends, by the header; None where it has no duration."""
        check_size(path, self.width, self.height)
        if not self.height or not self.width:
            raise UserError(f"the video {path} does not say how large its pictures are; it may be damaged")

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
        if not ticks or len(ticks) < self._stated_frames:
            raise UserError(
                f"the video {self.path} is cut off: {len(ticks)} of the {self._stated_frames} frames are there"
            )
        return np.sort(np.array(ticks, dtype=np.float64)) * float(self._tick)

    def pictures(self, times: Sequence[float], tolerance: float) -> Iterator[Pixels8]:
        """Yield the pictures at ascending times in seconds, (height, width, 3) uint8 RGB, each decoded on demand.

        The frame of a time is at most `tolerance` seconds away. Raises UserError where there is none.
        """
        current: tuple[float, Any] | None = None
        decoded: Iterator[tuple[float, Any]] | None = None
        may_seek = True
        for time in times:
            if decoded is None or (may_seek and current is not None and time - current[0] > SEEK_SECONDS):
                before = -np.inf if current is None else current[0]
                decoded, current = self._seek(time, tolerance)
                # A key frame before the frames that are decoded already means that seeking gains nothing.
                may_seek = may_seek and current is not None and current[0] > before
            while current is not None and current[0] < time - tolerance:
                current = self._next(decoded)
            if current is None or current[0] > time + tolerance:
                raise UserError(f"the video {self.path} has no frame at {time:.3f} s; it may be cut off or damaged")
            yield self._to_rgb(current[1])

    def _seek(self, time: float, tolerance: float) -> tuple[Iterator[tuple[float, Any]], tuple[float, Any] | None]:
        """Seek to a frame at or before `time`. Returns the frames after it and the frame itself."""
        for margin in (0.0, 1.0, 10.0, np.inf):  # a key frame stored before `time` may be shown after it
            start = max(0.0, time - tolerance - margin)
            with self._errors_as_user_errors():
                self._container.seek(int(start / self._tick), stream=self._stream, backward=True)
            decoded = self._decode()
            first = self._next(decoded)
            if start == 0.0 or (first is not None and first[0] <= time + tolerance):
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
        if (frame.height, frame.width) != (self.height, self.width):
            raise UserError(f"the pictures of the video {self.path} change their size; convert it to one size")
        with self._errors_as_user_errors():
            picture: Pixels8 = frame.to_ndarray(format="rgb24")
        return picture

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
    for place, mark, form in _FORMATS:
        if start[place : place + len(mark)] == mark:
            return form
    if is_lfs_pointer(path):
        raise UserError(f"the video {path} is only a Git LFS pointer; run `git lfs pull` to fetch the file itself")
    raise UserError(f"{path} is not a video that can be read (MP4, Matroska, WebM or AVI), or its start is damaged")
