"""Messages of openpi's policy servers: msgpack, with numpy arrays as maps of data, dtype and shape.

    array   {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [15, 8]}
    number  {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}

What arrives is not trusted: only plain values, numbers and text are made of it, never objects, and its memory is
bounded by the length of the message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from capture.errors import UserError

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Length of a message that is read: three cameras of 1920 x 1080 pixels in uint8 take 19 MB."""
MAX_VALUES: Final = 20_000
"""Values in the maps and lists of a message, arrays counting as one."""
MAX_LIST: Final = 4_096
"""Values of one list, such as a state."""
MAX_MAP: Final = 256
"""Entries of one map."""
MAX_TEXT_BYTES: Final = 64 << 10
"""Length of one text."""
MAX_AXES: Final = 8
"""Axes of one array."""

_DTYPE: Final = re.compile(r"[<>|=]?(?:[biuf][1248]|U[0-9]{1,5})")
_KINDS: Final = "biufU"


def unpack(message: bytes) -> Any:
    """Return the value of a message; arrays are read-only views into it.

    Raises UserError, with one sentence, for what is no such message, exceeds the limits of this module, or holds
    arrays of objects or other values than numbers and text.
    """
    import msgpack

    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size + 1
        if counted > MAX_VALUES:
            raise UserError(f"the message holds more than {MAX_VALUES} values; send pictures and states as arrays")

    def read_list(values: list[Any]) -> list[Any]:
        count(len(values))
        return values

    def read_map(pairs: list[tuple[Any, Any]]) -> Any:
        count(len(pairs))
        content = dict(pairs)
        if len(content) < len(pairs):
            raise UserError("a map of the message names a key twice")
        if b"__ndarray__" in content:
            return _read_array(content)
        return _read_number(content) if b"__npgeneric__" in content else content

    def refuse(code: int, _: bytes) -> None:
        raise UserError(f"the message holds msgpack's extension type {code}; send numbers, text and arrays")

    try:
        value = msgpack.unpackb(
            message,
            object_pairs_hook=read_map,
            list_hook=read_list,
            ext_hook=refuse,
            max_str_len=MAX_TEXT_BYTES,
            max_bin_len=MAX_MESSAGE_BYTES,
            max_array_len=MAX_LIST,
            max_map_len=MAX_MAP,
            max_ext_len=16,
        )
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError("the message holds text that is no UTF-8") from None
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the message is no msgpack of openpi's clients ({reason or type(error).__name__})") from None
    return value


def pack(value: Mapping[str, Any]) -> bytes:
    """Return the message of a value of maps, lists, text, numbers and numpy arrays of numbers."""
    import msgpack

    packed: bytes = msgpack.packb(value, default=_pack_numpy)
    return packed


def _pack_numpy(value: object) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        shape = list(value.shape)
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": shape}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _read_dtype(stated: object) -> np.dtype[Any]:
    """Return a number or text type. Raises UserError for every other, objects and structures among them."""
    if isinstance(stated, str) and _DTYPE.fullmatch(stated):
        try:
            dtype = np.dtype(stated)
        except TypeError:  # such as b8
            dtype = None
        if dtype is not None and dtype.kind in _KINDS:
            return dtype
    raise UserError(
        f"an array of the message has the type {_show(stated)}; only numbers, truth values and text are read"
    )


def _read_array(content: Mapping[Any, Any]) -> np.ndarray[Any, Any]:
    dtype, data, shape = _read_dtype(content.get(b"dtype")), content.get(b"data"), content.get(b"shape")
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(_is_size(size) for size in shape):
        raise UserError("an array of the message has no usable shape")
    if not isinstance(data, bytes):
        raise UserError("an array of the message has no usable data")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise UserError(f"an array of the message has {len(data)} bytes, which its shape {shape} and type do not make")
    if dtype.kind == "U" and dtype.itemsize > MAX_TEXT_BYTES:
        raise UserError(f"the message holds text of more than {MAX_TEXT_BYTES} bytes")
    return np.frombuffer(data, dtype).reshape(shape) if data else np.empty(shape, dtype)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_MESSAGE_BYTES


def _read_number(content: Mapping[Any, Any]) -> Any:
    dtype, data = _read_dtype(content.get(b"dtype")), content.get(b"data")
    try:
        if isinstance(data, bool | int | float) or (isinstance(data, str) and dtype.kind == "U"):
            return dtype.type(data)
    except (OverflowError, ValueError):
        pass
    raise UserError(f"a number of the message is {_show(data)}, which {dtype} cannot hold")


def _show(value: object) -> str:
    text = repr(value) if isinstance(value, str | bytes | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 40 else text[:39] + "…"
