"""Encode images as PNG or JPEG: with OpenCV where it is installed, which is several times faster, else with Qt.

`python -m viewer.export.encoding` writes a picture that the window sends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage

from viewer.export import atomic_write, metadata

JPEG_QUALITY: Final = 92
SUBSAMPLED_SCALE: Final = 1.5
"""Pixels per px from which chroma is subsampled: it looks the same then and takes half the time to encode."""


@cache
def import_opencv() -> Any:
    """Return the module cv2; None where it is not installed.

    Imported nowhere else, and after Qt: it sets Qt's environment variables to plug-ins of its own, which child
    processes would load. The environment is put back here.
    """
    environment = dict(os.environ)
    try:
        import cv2
    except ImportError:
        return None
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    cv2.setNumThreads(1)  # several processes encode at once
    return cv2


def pixels(image: QImage) -> npt.NDArray[np.uint8]:
    """Return the pixels of an RGB32 image, (h, w, 4) uint8, blue first: a view of its memory, which it must outlive."""
    whole = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return whole[:, : image.width()]


def encode_jpg(image: QImage) -> bytes:
    """Return the image as JPEG, with full chroma at low resolution, because heatmaps have coloured edges."""
    cv2 = import_opencv()
    if cv2 is None:
        return _encode_with_qt(image, "JPG", JPEG_QUALITY)
    is_subsampled = image.devicePixelRatio() >= SUBSAMPLED_SCALE
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if is_subsampled else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return _encode_with_opencv(cv2, image, ".jpg", settings)


def encode_png(image: QImage) -> bytes:
    """Return the image as PNG."""
    cv2 = import_opencv()
    return _encode_with_qt(image, "PNG", -1) if cv2 is None else _encode_with_opencv(cv2, image, ".png", [])


def _encode_with_opencv(cv2: Any, image: QImage, suffix: str, settings: list[int]) -> bytes:
    colours = pixels(image)
    if suffix == ".png":  # OpenCV would write the fourth byte as opacity
        colours = cv2.cvtColor(colours, cv2.COLOR_BGRA2BGR)
    success, content = cv2.imencode(suffix, colours, settings)
    assert success
    return bytes(content.tobytes())


def _encode_with_qt(image: QImage, suffix: str, quality: int) -> bytes:
    plain = image.copy()
    plain.setDevicePixelRatio(1)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    plain.save(buffer, suffix, quality)  # type: ignore[call-overload]
    return bytes(buffer.data().data())


def main() -> int:
    """Encode the picture on standard input and write it with its view inside; print why if that fails.

    The input is a line of JSON with the path, width and height, pixels per unit and the view, then the picture's
    0xFFRRGGBB words.
    """
    header = json.loads(sys.stdin.buffer.readline())
    words, width, height = sys.stdin.buffer.read(), header["width"], header["height"]
    image = QImage(words, width, height, width * 4, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(header["ratio"])
    path = Path(header["path"])
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        content = metadata.embed_in_jpg(encode_jpg(image), header["view"])
    else:
        content = metadata.embed_in_png(encode_png(image), header["view"])
    unfinished = atomic_write.create_temporary_path(path)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        sys.stderr.write(f"{path} cannot be written ({error.strerror or error}); choose another folder.\n")
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
