"""Floats as text with seven digits, many at once. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    Bytes = npt.NDArray[np.uint8]

DIGITS: Final = 7
"""Significant digits that distinguish all float32 numbers."""
_LEAST: Final = 1e-15
_MOST: Final = 1e7
"""Between these, texts are worked out for all numbers at once: the power of ten that gives seven digits is exact."""
_TIE: Final = 1e-6
"""Where what follows the seventh digit is this near to a half, a product may have been rounded to its other side. A
thousand times the error of a product below 10⁷."""
NONE: Final = 0xFF
"""Stands for no character: UTF-8 has no such byte."""
_ZERO: Final = ord("0")
_POWERS: Final = 10.0 ** np.arange(23)


def format_floats(values: npt.NDArray[np.floating[Any]]) -> list[Bytes]:
    """Return numbers as `"%.7g" % value` writes them: columns of characters, (n,) each; NONE marks an absent character.

    Read across, the characters of a number follow each other. Numbers that are tiny, large, infinite, NaN, or within
    rounding of a tie are written by Python, one by one.
    """
    numbers = values.astype(np.float64)
    size = np.abs(numbers)
    is_zero = numbers == 0
    with np.errstate(invalid="ignore"):
        is_plain = (size >= _LEAST) & (size < _MOST)
    size = np.where(is_plain, size, 1.0)
    exponent = np.floor(np.log10(size)).astype(np.int64)
    scaled = _scale(size, exponent)
    for is_off, step in ((scaled >= 10.0**DIGITS, 1), (scaled < 10.0 ** (DIGITS - 1), -1)):  # the logarithm was rounded
        if is_off.any():
            exponent += np.where(is_off, step, 0)
            scaled = _scale(size, exponent)
    is_plain &= np.abs(scaled - np.floor(scaled) - 0.5) > _TIE
    whole = np.rint(scaled).astype(np.uint32)
    is_next = whole >= 10**DIGITS
    exponent += is_next
    is_plain &= exponent < DIGITS  # else it was rounded up to 1e+07
    whole = np.where(is_next, np.uint32(10 ** (DIGITS - 1)), whole).astype(np.uint32)
    columns = _lay_out(whole, exponent.astype(np.int8), is_plain, numbers < 0)
    others = np.flatnonzero(~is_plain & ~is_zero)
    zeros = np.flatnonzero(is_zero)
    if len(zeros):
        columns[0][zeros] = np.where(np.signbit(numbers[zeros]), ord("-"), NONE)
        columns[1][zeros] = _ZERO
    if len(others):
        _write_each(columns, others, numbers[others])
    return [column for column in columns if (column != NONE).any()]


def _scale(size: npt.NDArray[np.float64], exponent: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return numbers times the power of ten that gives them seven digits before the point."""
    shift = DIGITS - 1 - exponent
    return np.where(shift >= 0, size * _POWERS[np.maximum(shift, 0)], size / _POWERS[np.maximum(-shift, 0)])


def _lay_out(
    whole: npt.NDArray[np.uint32],
    exponent: npt.NDArray[np.int8],
    is_plain: npt.NDArray[np.bool_],
    is_negative: npt.NDArray[np.bool_],
) -> list[Bytes]:
    """Return columns of characters: sign, leading zeros, digits with a place for the point after each, exponent."""
    digits = []
    for _ in range(DIGITS):
        rest = whole // np.uint32(10)
        digits.append((whole - rest * np.uint32(10)).astype(np.uint8))
        whole = rest
    digits.reverse()
    is_scientific = exponent < -4
    point = np.where(is_scientific, np.int8(0), exponent)  # digits behind the first one that stand before the point
    columns = [
        _show("-", is_negative & is_plain),
        _show("0", (point < 0) & is_plain),
        _show(".", (point < 0) & is_plain),
    ]
    columns += [_show("0", (point < -zeros) & is_plain) for zeros in (1, 2, 3)]
    is_kept = [np.zeros(len(point), np.bool_)] * (DIGITS + 1)
    for place in reversed(range(DIGITS)):
        is_kept[place] = is_kept[place + 1] | (digits[place] != 0)
    for place in range(DIGITS):
        is_shown = (is_kept[place] | (point >= place)) & is_plain
        columns.append(_blank_unless(is_shown, digits[place] + np.uint8(_ZERO)))
        if place < DIGITS - 1:
            columns.append(_show(".", (point == place) & is_kept[place + 1] & is_plain))
    is_scientific &= is_plain
    columns += [_show("e", is_scientific), _show("-", is_scientific)]
    power = np.where(is_scientific, -exponent, np.int8(0)).astype(np.uint8)
    columns += [_blank_unless(is_scientific, part + np.uint8(_ZERO)) for part in (power // 10, power % 10)]
    return columns


def _show(character: str, where: npt.NDArray[np.bool_]) -> Bytes:
    return _blank_unless(where, np.uint8(ord(character)))


def _blank_unless(where: npt.NDArray[np.bool_], characters: Bytes | np.uint8) -> Bytes:
    """Return characters where they are shown, else NONE; arithmetic on bytes, which is faster than `np.where`."""
    shown: Bytes = where.view(np.uint8) * (characters ^ np.uint8(NONE))
    shown ^= np.uint8(NONE)
    return shown


def _write_each(columns: list[Bytes], rows: npt.NDArray[np.intp], values: npt.NDArray[np.float64]) -> None:
    """Set the characters of some rows as Python writes their numbers."""
    characters = split_characters([b"%.7g" % value for value in values.tolist()])
    for place, column in enumerate(columns):
        column[rows] = characters[place] if place < len(characters) else NONE


def split_characters(texts: list[bytes]) -> list[Bytes]:
    """Return texts as columns of characters, (n,) each."""
    width = max(map(len, texts), default=0)
    filled = b"".join(text.ljust(width, bytes((NONE,))) for text in texts)
    return list(np.frombuffer(filled, np.uint8).reshape(len(texts), width).T)
