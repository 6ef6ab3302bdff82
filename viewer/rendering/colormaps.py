"""Colour maps: tables of 256 colours, interpolated linearly between control points.

The control points are 35 equidistant samples of inferno, magma and viridis (Smith and van der Walt, CC0), turbo
(Mikhailov, Apache-2.0), jet and RdBu (Brewer).

The package cmap has these maps too; the tables differ from its own by at most 7 of 255 (jet; RdBu 4, the others 2). It
is not used, since colours are needed for the first picture: its import takes 44 ms of processor time (85 modules) and
7 ms a map, the tables take 0.3 ms (cmap 0.8.0, Python 3.11), and figures made with earlier versions keep their pixels.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

DIFFERENCE: Final = "difference"
"""Diverging map from blue over white to red, for differences around 0."""

_POINTS: Final = {
    "inferno": (
        "0000040303110a0722130a331e0c452a0b56380962440a69510e6c5d126e69166e741b6e801f6c8c2369982766a42c61b0315b"
        "bb3755c63d4dd04545d94d3de15734e9612bef6d22f47918f8860efa9407fca208fcb014fbbf24f8cd37f5dc4ef2ea69f3f688"
        "fcffa4"
    ),
    "viridis": (
        "440154470c5f481769482172472a7a463480433d844045883d4e8a39568c355e8d32658e2e6d8e2b748e297b8e26828e23898e"
        "21908c1f978b1f9e8921a58526ac812eb37c39b97646c06f55c66765cb5e76d05389d5489cd93cb0dd2fc4e022d8e219ebe51a"
        "fde725"
    ),
    "magma": (
        "000004030311090720110c301a10422512543111653e0f724a107956147d6219806e1e81792282852781912b819d2f7faa337d"
        "b63779c23b75ce4070d9466be44e65ec5860f3655cf7725cfa805ffc8e64fd9c6bfeaa74feb87ffec68afed496fde2a3fcefb1"
        "fcfdbf"
    ),
    "turbo": (
        "30123b3928703f3e9c4452c14666dd477af1458cfd3c9ffd2fb2f423c4e31ad4d018e1bc22ebaa37f49352fa7a6ffe618bff4b"
        "a3fd3cb7f735caee34dbe236ead439f5c53afcb537fea130fd8b27f9751df25f14e84b0cdc3c08ce2d04bd2102a91601930c01"
        "7a0403"
    ),
    "jet": (
        "0000800000a20000c40000e60000ff0016ff0034ff0052ff0071ff008fff00adff00caff02e8f41bffdc33ffc44bffac63ff94"
        "7bff7b94ff63acff4bc4ff33dcff1bf4f802ffdd00ffc100ffa500ff8900ff6d00ff5200ff3600ff1a00e60000c40000a20000"
        "800000"
    ),
    "difference": (
        "0530610d407715508d1e60a3276eb0317bb73b88be4896c55fa5cd76b3d48dc2dca1cde2b3d6e8c6dfedd5e7f1e1ecf3ecf2f5"
        "f7f7f6f9efe9fbe7dbfcdecdfbd1bbf9c2a7f6b292f2a17fe98d6fe17860d86450ce4f45c33a3bb82531a9152a930e267d0723"
        "67001f"
    ),
}


@cache
def table(name: str) -> npt.NDArray[np.uint8]:
    """Return the colours of a map as RGB: (256, 3) uint8."""
    points = np.frombuffer(bytes.fromhex(_POINTS[name]), np.uint8).reshape(-1, 3).astype(np.float64)
    at = np.linspace(0, len(points) - 1, 256)
    return np.stack([np.interp(at, np.arange(len(points)), points[:, c]) for c in range(3)], 1).round().astype(np.uint8)


@cache
def opaque(name: str) -> npt.NDArray[np.uint32]:
    """Return the colours of a map as opaque 0xFFRRGGBB words: (256,) uint32."""
    red, green, blue = (table(name)[:, c].astype(np.uint32) for c in range(3))
    return (0xFF000000 | (red << 16) | (green << 8) | blue).astype(np.uint32)


@cache
def heat(name: str, opacity: int) -> npt.NDArray[np.uint32]:
    """Return the colours of a map as premultiplied 0xAARRGGBB words, transparent for low weights: (256,) uint32.

    `opacity` is in per cent. Alpha is opacity · min(x / 0.6, 1)^0.75 for position x in the table, 0 to 1; for
    DIFFERENCE, x is the distance from the middle of the table, scaled to 0 to 1.
    """
    at = np.linspace(0, 1, 256)
    if name == DIFFERENCE:
        at = np.abs(at * 2 - 1)
    alpha = np.minimum(at / 0.6, 1.0) ** 0.75 * (opacity / 100)
    color = np.round(table(name) * alpha[:, None]).astype(np.uint32)
    words = (np.round(alpha * 255).astype(np.uint32) << 24) | (color[:, 0] << 16) | (color[:, 1] << 8) | color[:, 2]
    return words.astype(np.uint32)


def painted(
    values: npt.NDArray[np.float32], high: float, name: str, table: npt.NDArray[np.uint32] | None = None
) -> npt.NDArray[np.uint32]:
    """Return values from 0 to `high` as opaque 0xFFRRGGBB words of a map or a table: uint32 of the same shape.

    Values outside the range are clipped; NaN is treated as 0.
    """
    at = values * np.float32(255 / high if high > 0 else 0)
    np.fmin(np.fmax(at, 0, out=at), 255, out=at)  # NaN becomes 0
    at += np.float32(0.5)
    return (opaque(name) if table is None else table)[at.astype(np.uint8)]


@cache
def blend_heat(name: str, opacity: int, ground: int) -> npt.NDArray[np.uint32]:
    """Return the colours of `heat` over one colour 0xRRGGBB, as opaque 0xFFRRGGBB words: (256,) uint32."""
    words = heat(name, opacity)
    transparency = 1 - (words >> np.uint32(24)).astype(np.float64) / 255
    table = np.full(words.shape, 0xFF000000, np.uint32)
    for shift in (16, 8, 0):
        over = (words >> np.uint32(shift)) & np.uint32(255)
        mixed = np.minimum(np.rint(over + (ground >> shift & 255) * transparency), 255)
        table |= mixed.astype(np.uint32) << np.uint32(shift)
    return table


def color_scores(
    scores: npt.NDArray[np.float32], name: str, *, lowest: bool, table: npt.NDArray[np.uint32] | None = None
) -> npt.NDArray[np.uint32]:
    """Return scores as opaque 0xFFRRGGBB words of a map, or of a table (256,): uint32 of the same shape.

    The range is 0 to the largest finite score; with `lowest`, it is reversed and runs from the largest to the smallest.
    """
    finite = scores[np.isfinite(scores)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if lowest:
        return painted(high - scores, high - low, name, table)
    return painted(scores.copy(), high, name, table)
