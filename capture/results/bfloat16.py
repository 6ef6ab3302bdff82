"""bfloat16 numbers as their 16 bits, which numpy has no type for. numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round float32 to the nearest bfloat16 (ties to even) and return its 16 bits; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    halves = (rounded >> np.uint32(16)).astype(np.uint16)
    if np.isnan(values).any():  # the carry would turn CUDA's NaN, all mantissa bits set, into -0
        halves = np.where(np.isnan(values), np.uint16(0x7FC0), halves)
    return halves


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Widen the 16 bits of bfloat16 numbers to float32, exactly."""
    wide = np.array(bits, np.uint32)
    return np.left_shift(wide, np.uint32(16), out=wide).view(np.float32)
