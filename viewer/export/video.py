"""A sweep as a video: H.264 that plays in every browser, through PyAV; GIF and WebP for slides, through Pillow."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from viewer.errors import UserError
from viewer.export import atomic_write, encoding, scenes
from viewer.export.figures import camera_figures
from viewer.export.metadata import ascii_json, way_to, with_other

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from viewer.export.plan import Job
    from viewer.export.renderer import Studio

    Pixels = npt.NDArray[np.uint8]

X264: Final = {
    "crf": "17", "preset": "medium", "g": "24",
    "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709",
}  # fmt: skip
"""Sharp enough for edges of patches, a whole picture every 24 so that a browser can seek, colours named."""


def check(suffix: str) -> None:
    """UserError before any work where what writes this format is not installed."""
    try:
        if suffix == "mp4":
            import av
        else:
            import PIL  # noqa: F401
    except ImportError:
        name = "PyAV" if suffix == "mp4" else "Pillow"
        raise UserError(f'A {suffix} needs {name}: pip install "pi0-attention[export]"') from None
    if suffix == "mp4" and "libx264" not in av.codecs_available:
        raise UserError("This PyAV was built without the encoder libx264; the one from PyPI has it: pip install av")


def write(studio: Studio, job: Job, report: Callable[[int, int], None], done: int, total: int) -> int:
    """Write one video; returns how many pictures are done in all. Pictures pass one at a time: memory stays flat."""
    options, source = studio.options, studio.source
    made = []
    for view in job.sweep:
        made.append(source.shown(view))  # numbers alone, a few kilobytes each
        report(done, total)
    views = list(job.sweep)
    if views[0].range == "shared" and views[0].scale != "rank":
        low, high = scenes.common_range(made)
        views = [scenes.on_range(view, (low, high)) for view in views]
        made = [replace(one, ranges=((low, high),) * len(one.ranges)) for one in made]

    view_text = views[0].to_json()
    if source.other is not None and views[0].compare == "difference":
        view_text = with_other(view_text, way_to(source.other.path, source.results.path))

    def frames() -> Iterator[Pixels]:
        nonlocal done
        size: tuple[int, ...] = ()
        for view, scene in zip(views, made, strict=True):
            with scenes.readable(source.results, view.frame):
                figure = camera_figures.row(source, studio.panes, view, options, scene)
                image = figure.image(options.density, even=True)
            pixels = encoding.pixels(image).copy()
            pixels = pixels if not size else _fitted(pixels, size)
            size = size or pixels.shape
            yield pixels
            done += 1
            report(done, total)

    with atomic_write.whole(job.path, overwrite=options.overwrite) as unfinished:
        if options.suffix == "mp4":
            _mp4(unfinished, frames(), options.rate, view_text)
        else:
            _pillow(unfinished, frames(), options.rate, options.suffix)
    return done


def _fitted(pixels: Pixels, size: tuple[int, ...]) -> Pixels:
    """A picture on the first one's size: a caption of another length may have another number of lines."""
    if pixels.shape == size:
        return pixels
    made = np.empty(size, np.uint8)
    made[:] = pixels[0, 0]
    height, width = min(size[0], pixels.shape[0]), min(size[1], pixels.shape[1])
    made[:height, :width] = pixels[:height, :width]
    return made


def _mp4(path: Path, frames: Iterator[Pixels], rate: float, view: str) -> None:
    import av

    exact = Fraction(rate).limit_denominator(1000)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = f"pi0-attention view {ascii_json(view)}"
        stream: Any = None
        for pixels in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=exact, options=dict(X264))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(pixels, format="bgra")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode(None))


def _pillow(path: Path, frames: Iterator[Pixels], rate: float, suffix: str) -> None:
    from PIL import Image

    pictures = (Image.fromarray(np.ascontiguousarray(pixels[..., 2::-1])) for pixels in frames)
    first = next(pictures)
    settings: dict[str, Any] = {"quality": 90, "method": 4} if suffix == "webp" else {"optimize": False}
    with path.open("wb") as stream:  # ours to close, also when it is stopped
        first.save(
            stream, suffix, save_all=True, append_images=pictures, duration=round(1000 / rate), loop=0, **settings
        )
