"""Write videos: H.264 that plays in every browser, with PyAV; GIF and WebP for slides, with Pillow."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from viewer.errors import UserError
from viewer.export import atomic_write, encoding, scenes
from viewer.export.figures import camera_figures
from viewer.export.metadata import add_second_file, relative_path, to_ascii_json
from viewer.model.view_state import SHARED_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from viewer.export.plan import PlannedFile, Report
    from viewer.export.renderer import FigureRenderer

    Pixels = npt.NDArray[np.uint8]

X264: Final = {
    "crf": "17", "preset": "medium", "g": "24",
    "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709",
}  # fmt: skip
"""Sharp enough for the edges of patches, a key frame every 24 so that a browser can seek, and the colour space."""


def check_installed(file_format: str) -> None:
    """Check that what writes a format is installed.

    Raises:
        UserError: It is not; the message says how to install it.
    """
    try:
        if file_format == "mp4":
            import av
        else:
            import PIL  # noqa: F401
    except ImportError:
        name = "PyAV" if file_format == "mp4" else "Pillow"
        raise UserError(f'A {file_format} needs {name}: pip install "pi0-attention[export]"') from None
    if file_format == "mp4" and "libx264" not in av.codecs_available:
        raise UserError("This PyAV was built without the encoder libx264; the one from PyPI has it: pip install av")


def write_video(renderer: FigureRenderer, file: PlannedFile, report: Report, done: int, total: int) -> int:
    """Write one video, a picture at a time; return how many pictures of the export are done.

    Raises:
        UserError: A frame cannot be read, or the file cannot be written.
    """
    request, source = renderer.request, renderer.source
    composed = []
    for view in file.sweep:
        composed.append(source.compose_shown(view))  # a few kilobytes each
        report(done, total)
    views = list(file.sweep)
    if views[0].range in SHARED_RANGES and views[0].scale != "rank":
        ends = scenes.find_common_range(composed, views[0].range)
        views = [scenes.lock_range(view, ends) for view in views]
        composed = [replace(scene, ranges=(ends,) * len(scene.ranges)) for scene in composed]
    view_text = views[0].to_json()
    if source.other is not None and views[0].compare == "difference":
        view_text = add_second_file(view_text, relative_path(source.other.path, source.results.path))

    def paint_pictures() -> Iterator[Pixels]:
        nonlocal done
        size: tuple[int, ...] = ()
        for view, scene in zip(views, composed, strict=True):
            with scenes.explain_read_errors(source.results, view.frame):
                figure = camera_figures.create_camera_row(
                    source, renderer.cameras, view, request, scene, series=file.series
                )
                image = figure.render(request.scale, even=True)
            pixels = encoding.pixels(image).copy()
            size = size or pixels.shape
            yield _crop_or_pad(pixels, size)
            done += 1
            report(done, total)

    with atomic_write.open_atomic_path(file.path, overwrite=request.overwrite) as unfinished:
        if request.format == "mp4":
            _write_mp4(unfinished, paint_pictures(), request.rate, view_text)
        else:
            _write_with_pillow(unfinished, paint_pictures(), request.rate, request.format)
    return done


def _crop_or_pad(pixels: Pixels, size: tuple[int, ...]) -> Pixels:
    """Return a picture in the size of the first: a caption of another length may have another number of lines."""
    if pixels.shape == size:
        return pixels
    canvas = np.empty(size, np.uint8)
    canvas[:] = pixels[0, 0]
    height, width = min(size[0], pixels.shape[0]), min(size[1], pixels.shape[1])
    canvas[:height, :width] = pixels[:height, :width]
    return canvas


def _write_mp4(path: Path, pictures: Iterator[Pixels], rate: float, view: str) -> None:
    import av

    exact = Fraction(rate).limit_denominator(1000)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = f"pi0-attention view {to_ascii_json(view)}"
        stream: Any = None
        for pixels in pictures:
            if stream is None:
                stream = container.add_stream("libx264", rate=exact, options=dict(X264))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(pixels, format="bgra")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode(None))


def _write_with_pillow(path: Path, pictures: Iterator[Pixels], rate: float, file_format: str) -> None:
    from PIL import Image

    images = (Image.fromarray(np.ascontiguousarray(pixels[..., 2::-1])) for pixels in pictures)
    first = next(images)
    settings: dict[str, Any] = {"quality": 90, "method": 4} if file_format == "webp" else {"optimize": False}
    with path.open("wb") as stream:  # closed by this block, also when the export is cancelled
        first.save(
            stream, file_format, save_all=True, append_images=images, duration=round(1000 / rate), loop=0, **settings
        )
