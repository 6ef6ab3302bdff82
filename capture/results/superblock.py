"""The superblock of an HDF5 file whose writer was killed or is still writing.

HDF5 sets flags in the superblock of a file that is open for writing: 1 for a writer, 4 for one that readers can follow
(SWMR). While they are set it refuses to open the file for writing, and for reading it demands SWMR mode, which refuses
flag 1 without 4 in turn; its own tool to clear them, h5clear, is rarely installed. The superblock of versions 2 and 3
(HDF5 File Format Specification, II.A) is: signature (8 bytes), version, size of offsets, size of lengths, consistency
flags (1 byte each), base address, extension address, end-of-file address, root address (8 bytes each), checksum (4).
"""

from __future__ import annotations

import os
import struct
from typing import Final

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
LENGTH: Final = 48
WRITER: Final = 1
"""Consistency flags of a file with a writer that readers cannot follow."""
_VERSION, _OFFSET_BYTES, _FLAGS = 8, 9, 11
_END: Final = slice(28, 36)
_WORD: Final = 0xFFFFFFFF


def read_flags(block: bytes) -> int | None:
    """Return the consistency flags in the first LENGTH bytes of a file; None if they are no valid superblock.

    Valid are versions 2 and 3. A superblock that does not lie at the start of the file counts as none.
    """
    if len(block) != LENGTH or block[: len(SIGNATURE)] != SIGNATURE or block[_VERSION] not in (2, 3):
        return None
    if block[_OFFSET_BYTES] != 8 or checksum(block[:-4]) != int.from_bytes(block[-4:], "little"):
        return None
    return block[_FLAGS]


def stored_end(block: bytes) -> int:
    """Return the end-of-file address in a valid superblock."""
    return int.from_bytes(block[_END], "little")


def without_flags(block: bytes, end: int) -> bytes:
    """Return a valid superblock with no flag set, and `end` as its end-of-file address."""
    cleared = bytearray(block)
    cleared[_FLAGS] = 0
    cleared[_END] = end.to_bytes(8, "little")
    cleared[-4:] = checksum(bytes(cleared[:-4])).to_bytes(4, "little")
    return bytes(cleared)


def clear_writer_flag(descriptor: int) -> bool:
    """Clear the flags of an open writer, and move the end-of-file address to the end of the file.

    Data that a killed writer wrote or reserved after its last flush lies beyond the stored end-of-file address, and its
    chunk index may point there already, so that this space must not be allocated again. Returns False, and changes
    nothing, where the file has no valid superblock of version 2 or 3. One write call; idempotent.
    """
    block = os.pread(descriptor, LENGTH, 0)
    if read_flags(block) is None:
        return False
    os.pwrite(descriptor, without_flags(block, max(stored_end(block), os.fstat(descriptor).st_size)), 0)
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
