"""Encode images as PNG or JPEG: with OpenCV where it is installed, which is several times faster, else with Qt."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QBuffer, QIODevice

if TYPE_CHECKING:
    from PySide6.QtGui import QImage

JPEG_QUALITY: Final = 92
SUBSAMPLED_SCALE: Final = 1.5
"""Pixels per px from which chroma is subsampled: it looks the same then and takes half the time to encode."""


@cache
def opencv() -> Any:
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
    cv2 = opencv()
    if cv2 is None:
        return _encode_with_qt(image, "JPG", JPEG_QUALITY)
    is_subsampled = image.devicePixelRatio() >= SUBSAMPLED_SCALE
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if is_subsampled else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return _encode_with_opencv(cv2, image, ".jpg", settings)


def encode_png(image: QImage) -> bytes:
    """Return the image as PNG."""
    cv2 = opencv()
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
