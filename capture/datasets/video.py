"""Video files, decoded forward and exactly: the frame of a number or of a time, never its neighbour."""

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

FAR: Final = 2.0
"""Seconds to the next frame that is asked for, above which a jump is tried instead of decoding on."""

_FORMATS: Final = ((4, b"ftyp", "mp4"), (0, b"\x1aE\xdf\xa3", "matroska"), (0, b"RIFF", "avi"), (4, b"moov", "mp4"))
"""Where a file says what it is. FFmpeg is told, since of its own it would also follow playlists to other files."""


class Video:
    """One video file. A context manager; everything raises UserError for a file that is missing, cut off or damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = _pyav()
        form = _form(path)
        with self._guarded():
            self._container: InputContainer = self._av.open(f"file:{path}", format=form)
            if not self._container.streams.video:
                raise UserError(f"{path} has no video in it")
            self._stream: VideoStream = self._container.streams.video[0]
            codec = self._stream.codec_context
            if codec is None:  # which the library's types do not tell of
                raise UserError(f"the video {path} is of a codec that cannot be read, or damaged; convert it to H.264")
            codec.thread_type = "AUTO"
            self.height, self.width = codec.height, codec.width
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.rate = float(rate) if rate else None
            self._tick: Fraction = self._stream.time_base or Fraction(1, 1)
            self._told = self._stream.frames
            duration = self._stream.duration
            self.end = float(((self._stream.start_time or 0) + duration) * self._tick) if duration else None
            """Seconds at which the last frame ends, by the header; None where that does not tell."""
        check_size(path, self.width, self.height)
        if not self.height or not self.width:
            raise UserError(f"the video {path} does not say how large its pictures are; it may be damaged")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def seconds(self) -> npt.NDArray[np.float64]:
        """The time of each frame in order, (frames,) float64, read from the packets without decoding one."""
        ticks = []
        with self._guarded():
            self._container.seek(0)
            for packet in self._container.demux(self._stream):
                if packet.size and not packet.is_discard:
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    if stamp is None:
                        raise UserError(f"the video {self.path} has frames without a time; convert it to MP4")
                    ticks.append(stamp)
        if not ticks or len(ticks) < self._told:
            raise UserError(
                f"the video {self.path} is cut off: {len(ticks)} of the {self._told} frames that it tells of are there"
            )
        return np.sort(np.array(ticks, dtype=np.float64)) * float(self._tick)

    def pictures(self, times: Sequence[float], tolerance: float) -> Iterator[Pixels8]:
        """The pictures at rising times in seconds, (height, width, 3) uint8 RGB, each decoded as it is asked for.

        A frame counts as that of a time if it is at most `tolerance` seconds away; raises UserError where none is.
        """
        shown: tuple[float, Any] | None = None
        decoded: Iterator[tuple[float, Any]] | None = None
        jumps = True
        for time in times:
            if decoded is None or (jumps and shown is not None and time - shown[0] > FAR):
                before = -np.inf if shown is None else shown[0]
                decoded, shown = self._from(time, tolerance)
                # Where the next frame to start from lies before what was decoded already, jumping gains nothing.
                jumps = jumps and shown is not None and shown[0] > before
            while shown is not None and shown[0] < time - tolerance:
                shown = self._next(decoded)
            if shown is None or shown[0] > time + tolerance:
                raise UserError(f"the video {self.path} has no frame at {time:.3f} s; it may be cut off or damaged")
            yield self._picture(shown[1])

    def _from(self, time: float, tolerance: float) -> tuple[Iterator[tuple[float, Any]], tuple[float, Any] | None]:
        """Frames from one at or before `time` on, and the first of them."""
        for margin in (0.0, 1.0, 10.0, np.inf):  # a key frame may be stored before it, and shown after it
            start = max(0.0, time - tolerance - margin)
            with self._guarded():
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
        with self._guarded():
            return next(decoded, None)

    def _picture(self, frame: Any) -> Pixels8:
        if (frame.height, frame.width) != (self.height, self.width):
            raise UserError(f"the pictures of the video {self.path} change their size; convert it to one size")
        with self._guarded():
            picture: Pixels8 = frame.to_ndarray(format="rgb24")
        return picture

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"the video {self.path} cannot be read, it may be cut off or damaged ({reason[:120]})"
            ) from error


def _pyav() -> ModuleType:
    try:
        import av
    except ModuleNotFoundError:
        raise UserError("reading videos needs the package av; run pip install 'pi0-attention[datasets]'") from None
    return av


def _form(path: Path) -> str:
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
