"""Pixels to the bytes of a PNG or JPEG: by OpenCV where it is installed, which is several times faster, else by Qt."""

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
FINE: Final = 1.5
"""Pixels a px from which colours of half the sharpness look the same; they take half the time to encode."""


@cache
def opencv() -> Any:
    """The module cv2; None where it is not installed.

    Imported here alone and after Qt: it points Qt's environment variables to plug-ins of its own, which no process
    that this one starts may find.
    """
    before = dict(os.environ)
    try:
        import cv2
    except ImportError:
        return None
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
    cv2.setNumThreads(1)  # the figures of a set are spread over processes
    return cv2


def pixels(image: QImage) -> npt.NDArray[np.uint8]:
    """(h, w, 4) uint8, blue first, of an RGB32 image: its own memory, which must outlive them."""
    whole = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return whole[:, : image.width()]


def jpg(image: QImage) -> bytes:
    """The image as JPEG. Colours are as sharp as greys, because heat has coloured edges, unless pixels are fine."""
    cv2 = opencv()
    if cv2 is None:
        return _by_qt(image, "JPG", JPEG_QUALITY)
    fine = image.devicePixelRatio() >= FINE
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if fine else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return _by_opencv(cv2, image, ".jpg", settings)


def png(image: QImage) -> bytes:
    """The image as PNG."""
    cv2 = opencv()
    return _by_qt(image, "PNG", -1) if cv2 is None else _by_opencv(cv2, image, ".png", [])


def _by_opencv(cv2: Any, image: QImage, suffix: str, settings: list[int]) -> bytes:
    colours = pixels(image)
    if suffix == ".png":  # which would keep the fourth byte as opacity
        colours = cv2.cvtColor(colours, cv2.COLOR_BGRA2BGR)
    done, made = cv2.imencode(suffix, colours, settings)
    assert done
    return bytes(made.tobytes())


def _by_qt(image: QImage, suffix: str, quality: int) -> bytes:
    plain = image.copy()
    plain.setDevicePixelRatio(1)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    plain.save(buffer, suffix, quality)  # type: ignore[call-overload]
    return bytes(buffer.data().data())
