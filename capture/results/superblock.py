"""Repair of the superblock of an HDF5 file whose writer was killed, so that HDF5 can write to it again.

HDF5 sets a flag in the superblock of a file that is open for writing, and refuses to open the file for writing while it
is set; its own tool to clear it, h5clear, is rarely installed. The superblock of versions 2 and 3 (HDF5 File Format
Specification, II.A) is: signature (8 bytes), version, size of offsets, size of lengths, consistency flags (1 byte
each), base address, extension address, end-of-file address, root address (8 bytes each), checksum (4).
"""

from __future__ import annotations

import os
import struct
from typing import Final

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
LENGTH: Final = 48
_VERSION, _OFFSET_BYTES, _FLAGS = 8, 9, 11
_END: Final = slice(28, 36)
_WORD: Final = 0xFFFFFFFF


def clear_writer_flag(descriptor: int) -> bool:
    """Clear the flag of an open writer, and move the end-of-file address to the end of the file.

    Data that a killed writer wrote or reserved after its last flush lies beyond the stored end-of-file address, and its
    chunk index may point there already, so that this space must not be allocated again. Returns False, and changes
    nothing, where the file has no valid superblock of version 2 or 3. One write call; idempotent.
    """
    block = bytearray(os.pread(descriptor, LENGTH, 0))
    if len(block) < LENGTH or block[: len(SIGNATURE)] != SIGNATURE or block[_VERSION] not in (2, 3):
        return False
    if block[_OFFSET_BYTES] != 8 or checksum(bytes(block[:-4])) != int.from_bytes(block[-4:], "little"):
        return False
    block[_FLAGS] = 0
    stored = int.from_bytes(block[_END], "little")
    block[_END] = max(stored, os.fstat(descriptor).st_size).to_bytes(8, "little")
    block[-4:] = checksum(bytes(block[:-4])).to_bytes(4, "little")
    os.pwrite(descriptor, block, 0)
    return True


def checksum(data: bytes) -> int:
    """Return HDF5's checksum of metadata: Bob Jenkins's lookup3, `hashlittle` (burtleburtle.net/bob/c/lookup3.c)."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    if not data:
        return c
    while len(data) > 12:
        first, second, third = struct.unpack_from("<III", data)
        a, b, c = (a + first) & _WORD, (b + second) & _WORD, (c + third) & _WORD
        for rotate_a, rotate_b, rotate_c in ((4, 6, 8), (16, 19, 4)):
            a, c = ((a - c) ^ _rotate_left(c, rotate_a)) & _WORD, (c + b) & _WORD
            b, a = ((b - a) ^ _rotate_left(a, rotate_b)) & _WORD, (a + c) & _WORD
            c, b = ((c - b) ^ _rotate_left(b, rotate_c)) & _WORD, (b + a) & _WORD
        data = data[12:]
    first, second, third = struct.unpack("<III", data.ljust(12, b"\0"))
    a, b, c = (a + first) & _WORD, (b + second) & _WORD, (c + third) & _WORD
    c = ((c ^ b) - _rotate_left(b, 14)) & _WORD
    a = ((a ^ c) - _rotate_left(c, 11)) & _WORD
    b = ((b ^ a) - _rotate_left(a, 25)) & _WORD
    c = ((c ^ b) - _rotate_left(b, 16)) & _WORD
    a = ((a ^ c) - _rotate_left(c, 4)) & _WORD
    b = ((b ^ a) - _rotate_left(a, 14)) & _WORD
    return ((c ^ b) - _rotate_left(b, 24)) & _WORD


def _rotate_left(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD
