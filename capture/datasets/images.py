"""Checked decoding of camera pictures, from files or bytes. No torch."""

from __future__ import annotations

import io
import struct
import tokenize
import warnings
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from capture.errors import UserError
from capture.json_fields import is_safe_relative_path

Pixels8 = npt.NDArray[np.uint8]

Result = TypeVar("Result")

MAX_PICTURE_PIXELS: Final = 50_000_000
"""Limit of a picture, checked before decoding; twice the largest robot camera known to us."""

PICTURE_FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""Pillow's decoders that may be used; others start programs (EPS) or render pages (WMF)."""

ORIENTATIONS: Final = {
    1: "as stored",
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored left to right and turned by 90 degrees anticlockwise",
    6: "turned by 90 degrees clockwise",
    7: "mirrored left to right and turned by 90 degrees clockwise",
    8: "turned by 90 degrees anticlockwise",
}
"""EXIF's orientations: what puts a stored picture upright."""

_DAMAGE: Final = (
    *(OSError, EOFError, SyntaxError, ValueError, KeyError, TypeError, IndexError, OverflowError),
    *(struct.error, tokenize.TokenError),
)
"""What Pillow and numpy raise for a damaged file, depending on where the damage lies."""


def read_picture(path: str | Path) -> Pixels8:
    """Read a picture file as (height, width, 3) uint8 RGB.

    PNG, JPEG, WebP, BMP, TIFF, PPM and still GIF; grey and palette pictures become RGB, a JPEG's or PNG's EXIF
    rotation is applied, colour profiles are not. An alpha channel is dropped, not blended: a camera has none, and
    the colours under it are what was stored. `.npy` files hold uint8, or floats in 0 to 1 (times 255, cut, as
    openpi does), height x width x 3 or 3 x height x width.

    Of 16-bit colours the upper eight bits are kept. Raises UserError for a file that is missing, damaged, not a
    picture, animated, grey with more than 8 bits (a depth map), or larger than 50 million pixels.
    """
    path = Path(path)
    _check_is_file(path)

    def read() -> Pixels8:
        with path.open("rb") as file:
            start = file.read(6)
        return _read_array(path) if start == b"\x93NUMPY" else _read_image(path, path)

    return _call_checked(read, path)


def decode_picture(content: bytes, where: str) -> Pixels8:
    """Decode a picture file's bytes as `read_picture` does; `where` names them in error messages."""
    return _call_checked(lambda: _read_image(io.BytesIO(content), where), where)


def turn_upright(picture: Pixels8, orientation: int) -> Pixels8:
    """Return a picture (height, width, 3) as it is meant to be shown, contiguous.

    `orientation` is EXIF's number from 1 to 8, of which 5 to 8 swap height and width.
    """
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    cols = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(picture[::rows, ::cols])


def picture_size(file: Path | bytes, where: str | Path) -> tuple[int, int]:
    """Return height and width of a picture file or of its bytes, from the header. Raises as `read_picture`."""
    return picture_outline(file, where)[:2]


def picture_outline(file: Path | bytes, where: str | Path) -> tuple[int, int, int]:
    """Return height and width as shown, and EXIF's orientation (1 to 8). Raises as `read_picture`."""
    if isinstance(file, Path):
        _check_is_file(file)

    def read() -> tuple[int, int, int]:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=PICTURE_FORMATS) as image:
            check_size(where, *image.size)  # reading a PNG's EXIF rotation decodes it
            stated = image.getexif().get(ExifTags.Base.Orientation, 1)
            orientation = stated if stated in ORIENTATIONS else 1
            size = image.size if orientation >= 5 else image.size[::-1]
            return *size, orientation

    return _call_checked(read, where)


def find_moved_file(folder: Path, path: str) -> Path | None:
    """Return the file in `folder` that an absolute path from the machine of a recording means; None without one.

    It is the one with the longest common end, such as `images/front/episode_000000/frame_000000.png`. Paths outside
    `folder` are not followed, since anybody may have written them.
    """
    parts = [part for part in PureWindowsPath(path).parts if part not in ("/", "\\", "..", ".")]
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if is_safe_relative_path(name) and (folder / name).is_file():
            return folder / name
    return None


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise UserError(f"the picture {path} {problem}; check the path")


def check_size(where: str | Path, width: int, height: int) -> None:
    """Raise UserError for a picture of more than `MAX_PICTURE_PIXELS`."""
    if width * height > MAX_PICTURE_PIXELS:
        raise UserError(
            f"the picture {where} is too large: {width} x {height} pixels, {MAX_PICTURE_PIXELS} are the limit"
        )


def _call_checked(read: Callable[[], Result], path: str | Path) -> Result:
    try:
        with warnings.catch_warnings():
            # Pillow and numpy warn about odd metadata, which does not matter here, and large sizes, checked below.
            warnings.simplefilter("ignore")
            return read()
    except UnidentifiedImageError as error:
        known = ", ".join(PICTURE_FORMATS)
        raise UserError(f"{path} is not a picture that can be read ({known} or .npy)") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"the picture {path} is too large: {MAX_PICTURE_PIXELS} pixels is the limit") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the picture {path} cannot be read, it may be damaged ({reason or 'no reason'})") from error


def _read_image(file: Path | io.BytesIO, path: str | Path) -> Pixels8:
    with Image.open(file, formats=PICTURE_FORMATS) as image:
        check_size(path, *image.size)
        frames = getattr(image, "n_frames", 1)
        # A camera's JPEG may hold a preview as a second frame (MPO); the first is the picture.
        if frames > 1 and image.format != "MPO":
            raise UserError(f"{path} holds {frames} pictures; save the one that is meant as a file of its own")
        if image.mode.startswith("I") or image.mode == "F":
            raise UserError(
                f"{path} holds 16-bit or floating grey values, as depth maps do; save a colour picture of 8 bits"
            )
        return np.array(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)


def _read_array(path: Path) -> Pixels8:
    return picture_from_array(np.load(path, mmap_mode="r", allow_pickle=False), str(path))


def picture_from_array(array: npt.NDArray[np.generic], where: str) -> Pixels8:
    """Return a picture as (height, width, 3) uint8 RGB, a copy; `where` names it in error messages.

    `array` holds uint8, or floats in 0 to 1 (times 255, cut, as openpi does), height x width x 3 or 3 x height x width.
    Raises UserError for other shapes, types and values, and for a picture larger than 50 million pixels.
    """
    shape = array.shape
    if len(shape) == 3 and shape[0] == 3:  # openpi's rule, which takes precedence over the last axis
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(f"{where} holds an array of shape {shape}; (height, width, 3) is needed")
    check_size(where, array.shape[1], array.shape[0])
    if array.dtype == np.uint8:
        return np.array(array, order="C")
    if array.dtype.kind != "f":
        raise UserError(f"{where} holds {array.dtype} values; uint8, or floats from 0 to 1, are needed")
    floats = cast("npt.NDArray[np.floating]", array)
    if not (np.isfinite(floats).all() and floats.min() >= 0.0 and floats.max() <= 1.0):
        raise UserError(f"{where} holds floats outside 0 to 1; divide by 255 or store uint8")
    return np.array(255 * floats).astype(np.uint8, order="C")
