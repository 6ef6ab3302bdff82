"""The first bytes of an HDF5 file, mended so that a file whose writer was killed can be written on.

HDF5 marks a file that is open for writing in its superblock, and refuses to open it again while the mark stands; its
own cure is the program h5clear, which few people have. The superblock of versions 2 and 3 (HDF5 File Format
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


def release(descriptor: int) -> bool:
    """Take the mark of a living writer off the file, and put its end behind everything that a dead one may have used.

    What a killed writer reserved or wrote after its last flush lies behind the end that it last noted, and its index
    may point there already; whoever writes on must not give that room to something else. Returns False, and changes
    nothing, where the file has no whole superblock of version 2 or 3. One write call; done twice it does the same.
    """
    block = bytearray(os.pread(descriptor, LENGTH, 0))
    if len(block) < LENGTH or block[: len(SIGNATURE)] != SIGNATURE or block[_VERSION] not in (2, 3):
        return False
    if block[_OFFSET_BYTES] != 8 or checksum(bytes(block[:-4])) != int.from_bytes(block[-4:], "little"):
        return False
    block[_FLAGS] = 0
    noted = int.from_bytes(block[_END], "little")
    block[_END] = max(noted, os.fstat(descriptor).st_size).to_bytes(8, "little")
    block[-4:] = checksum(bytes(block[:-4])).to_bytes(4, "little")
    os.pwrite(descriptor, block, 0)
    return True


def checksum(data: bytes) -> int:
    """HDF5's checksum of metadata: Bob Jenkins's lookup3, `hashlittle` (burtleburtle.net/bob/c/lookup3.c)."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    if not data:
        return c
    while len(data) > 12:
        first, second, third = struct.unpack_from("<III", data)
        a, b, c = (a + first) & _WORD, (b + second) & _WORD, (c + third) & _WORD
        for turn_a, turn_b, turn_c in ((4, 6, 8), (16, 19, 4)):
            a, c = ((a - c) ^ _turned(c, turn_a)) & _WORD, (c + b) & _WORD
            b, a = ((b - a) ^ _turned(a, turn_b)) & _WORD, (a + c) & _WORD
            c, b = ((c - b) ^ _turned(b, turn_c)) & _WORD, (b + a) & _WORD
        data = data[12:]
    first, second, third = struct.unpack("<III", data.ljust(12, b"\0"))
    a, b, c = (a + first) & _WORD, (b + second) & _WORD, (c + third) & _WORD
    c = ((c ^ b) - _turned(b, 14)) & _WORD
    a = ((a ^ c) - _turned(c, 11)) & _WORD
    b = ((b ^ a) - _turned(a, 25)) & _WORD
    c = ((c ^ b) - _turned(b, 16)) & _WORD
    a = ((a ^ c) - _turned(c, 4)) & _WORD
    b = ((b ^ a) - _turned(a, 14)) & _WORD
    return ((c ^ b) - _turned(b, 24)) & _WORD


def _turned(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD
