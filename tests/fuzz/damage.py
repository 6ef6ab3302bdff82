"""Random damages of HDF5 files, old ones without checksums and new ones with them."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from capture.results import superblock

METADATA: Final = re.compile(rb"OHDR|OCHK|FADB|FAHD|FRHP|FHDB|BTHD|BTLF|TREE|SNOD|HEAP|GCOL")
"""Signatures of HDF5's metadata."""


def damage(source: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with one random damage."""
    data = bytearray(source)
    offset = int(rng.integers(len(data)))
    kind = int(rng.integers(9))
    if kind == 0:  # single bytes anywhere
        for position in rng.integers(len(data), size=int(rng.integers(1, 40))):
            data[position] ^= int(rng.integers(1, 256))
    elif kind == 1:  # single bytes of the first metadata
        for position in rng.integers(min(4096, len(data)), size=int(rng.integers(1, 10))):
            data[position] ^= int(rng.integers(1, 256))
    elif kind in (2, 3):  # single bits in a block of metadata, those of object headers with a right checksum
        headers = [match.start() for match in METADATA.finditer(data)]
        begin = headers[int(rng.integers(len(headers)))]
        position = begin + int(rng.integers(4, 200))
        data[min(position, len(data) - 1)] ^= 1 << int(rng.integers(8))
        if kind == 3:
            correct_header(data, begin)
    elif kind == 4:  # pages that did not reach the disk
        page = offset // 4096 * 4096
        data[page : page + 4096 * int(rng.integers(1, 10))] = b""
        data[page:page] = bytes(len(source) - len(data))
    elif kind == 5:  # a torn copy
        del data[max(offset, 1) :]
    elif kind == 6:  # two places exchanged
        second = int(rng.integers(len(data)))
        data[offset : offset + 64], data[second : second + 64] = data[second : second + 64], data[offset : offset + 64]
    elif kind == 7:  # a part twice
        data[offset:offset] = data[max(0, offset - 200) : offset]
    else:  # superblock with another end, root or flags, and a right checksum
        block = bytearray(data[: superblock.LENGTH])
        block[int(rng.integers(11, 44))] ^= 1 << int(rng.integers(8))
        if block[8] >= 2:  # older ones have no checksum
            block[-4:] = superblock.checksum(bytes(block[:-4])).to_bytes(4, "little")
        data[: superblock.LENGTH] = block
    return bytes(data)


def correct_header(data: bytearray, begin: int) -> None:
    """Write the right checksum into an object header of version 2 at `begin`; nothing where there is none.

    Its first chunk is prefix, messages and checksum (HDF5 File Format Specification, IV.A.1.b).
    """
    if data[begin : begin + 4] != b"OHDR" or begin + 34 > len(data):
        return
    flags = data[begin + 5]
    sizes = begin + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    width = 1 << (flags & 3)
    end = sizes + width + int.from_bytes(data[sizes : sizes + width], "little")
    if end + 4 <= len(data):
        data[end : end + 4] = superblock.checksum(bytes(data[begin:end])).to_bytes(4, "little")
