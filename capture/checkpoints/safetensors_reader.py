"""Read safetensors files directly into tensors: first the header, then the bytes of each tensor.

The format (github.com/huggingface/safetensors, README): 8 bytes with the header's length, the header in JSON,
then the tensors' bytes without gaps. Files are read rather than mapped into memory: the pages of a mapping count as
memory of the process, so that it would hold the model and its file at once.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, cast

import torch

from capture.errors import UserError
from capture.json_fields import LFS_POINTER, JsonObject, is_safe_relative_path, parse_json, read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Dtypes that weights may have."""

MAX_HEADER = 100 << 20
"""The format's limit on the header, in bytes."""

BLOCK = 4 << 20
"""Bytes read at a time if numbers are converted or copied to another device."""


@dataclass(frozen=True)
class StoredTensor:
    """Location of one tensor in a file."""

    path: Path
    dtype: str
    """Dtype in the format's notation: F32, BF16, I64, ..."""
    shape: tuple[int, ...]
    start: int
    """Offset of the first byte from the beginning of the file."""
    stop: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return every tensor of a file by name; reads no weights.

    Raises UserError for a file that is missing, truncated, damaged or of another format.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(max(8, len(LFS_POINTER)))
            length = int.from_bytes(beginning[:8], "little")
            file.seek(8)
            header = file.read(length) if length <= min(size - 8, MAX_HEADER) else b""
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if beginning.startswith(LFS_POINTER):
        raise UserError(f"{path} is only a Git LFS pointer; run `git lfs pull` in its folder to fetch the file itself")
    if not header or len(header) != length:
        raise _damaged(path, f"its {size} bytes end before its header does, or it is another kind of file")
    entries = parse_json(header, f"the header of {path}")
    tensors = {}
    for name in entries.values:
        if name != "__metadata__":
            tensors[name] = _locate_tensor(path, name, entries, 8 + length)
    _check_layout(path, tensors, 8 + length, size)
    return tensors


def _locate_tensor(path: Path, name: str, entries: JsonObject, data: int) -> StoredTensor:
    entry = entries.section(name)
    if entry is None:
        raise _damaged(path, f"its header says nothing about {name!r}")
    shape, offsets = entry.values.get("shape"), entry.values.get("data_offsets")
    if not _is_whole_numbers(shape) or not _is_whole_numbers(offsets) or len(offsets) != 2:
        raise _damaged(path, f"its header gives no shape and place for {name!r}")
    stored = StoredTensor(path, entry.text("dtype") or "", tuple(shape), data + offsets[0], data + offsets[1])
    width = FLOATS[stored.dtype].itemsize if stored.dtype in FLOATS else None
    if stored.start > stored.stop or (width and math.prod(shape) * width != stored.stop - stored.start):
        raise _damaged(path, f"its header gives {name!r} a shape that does not fit its bytes")
    return stored


def _is_whole_numbers(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(path: Path, tensors: Mapping[str, StoredTensor], data: int, size: int) -> None:
    """Check that the tensors' bytes follow one another without gaps and end at the end of the file."""
    offset = data
    for name, stored in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if stored.start != offset:
            raise _damaged(path, f"its header puts {name!r} at a wrong place")
        offset = stored.stop
    if offset > size:
        raise UserError(f"{path} is cut off: it has {size} of {offset} bytes; fetch it again")
    if offset < size:
        raise _damaged(path, f"it has {size} bytes where its header speaks of {offset}")


def _damaged(path: Path, damage: str) -> UserError:
    return UserError(f"{path} is not a whole safetensors file: {damage}; fetch it again")


def read_folder(folder: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the folder's `model.safetensors`, or of the shards that its index names; reads no weights.

    Raises UserError as `read_header` does, and for an index that names missing files, other folders or other tensors.
    """
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    index = folder / INDEX
    shard_names = read_json(index).section("weight_map")
    if not shard_names or not shard_names.values:
        raise UserError(f"{index} has no 'weight_map', so nothing tells which shard holds what; fetch it again")
    headers: dict[str, dict[str, StoredTensor]] = {}
    tensors = {}
    for name in shard_names.values:
        shard = shard_names.text(name) or ""
        if shard not in headers:
            if not is_safe_relative_path(shard):
                raise UserError(f"{index} names {shard!r}, which lies outside its folder; it is not read")
            if not (folder / shard).is_file():
                raise UserError(f"{index} names {shard!r}, but there is no such file in the folder; fetch it again")
            headers[shard] = read_header(folder / shard)
        if name not in headers[shard]:
            raise UserError(f"{folder / shard} does not hold {name!r}, though {INDEX} says so; fetch both again")
        tensors[name] = headers[shard][name]
    return tensors


def read_into(stored: StoredTensor, out: torch.Tensor) -> None:
    """Fill `out`, contiguous and of the stored shape, converting to its dtype and device.

    Needs at most BLOCK bytes of extra memory. Raises UserError if the file has changed or cannot be read.
    """
    dtype, flat = FLOATS[stored.dtype], out.view(-1)
    with _opened(stored.path) as file:
        file.seek(stored.start)
        if out.dtype == dtype and out.device.type == "cpu":
            _fill(file, flat, stored.path)
            return
        block = torch.empty(min(flat.numel(), BLOCK // dtype.itemsize), dtype=dtype, pin_memory=out.is_cuda)
        for start in range(0, flat.numel(), max(1, block.numel())):
            part = block[: flat.numel() - start]
            _fill(file, part, stored.path)
            flat[start : start + part.numel()].copy_(part)


def _opened(path: Path) -> io.FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _fill(file: io.FileIO, flat: torch.Tensor, path: Path) -> None:
    if not flat.numel():
        return
    remaining = memoryview(cast("bytearray", flat.view(torch.uint8).numpy()))
    while remaining:
        try:
            count = file.readinto(remaining)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        if not count:
            raise UserError(f"{path} became shorter while it was read; fetch it again")
        remaining = remaining[count:]
