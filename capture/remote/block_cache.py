"""Blocks of remote files in a folder of the user's cache, shared by processes and kept for the next time.

A folder holds the blocks of one version of one file: its name is a hash of address, size, version and first bytes, so
that blocks of two versions never meet. Each process appends to a segment of its own there. A segment is a sequence of
records: block number, length, CRC-32, and the block, padded; what a killed process left at its end is not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import struct
import sys
import threading
import zlib
from pathlib import Path
from typing import BinaryIO, Final

BLOCK: Final = 16 << 10
"""Bytes of a block: HDF5's metadata are scattered in pieces of some hundred bytes, and chunks have 10 to 200 kB."""
MAX_BYTES: Final = 2 << 30
"""Bytes on the disk that are kept in all; the files used longest ago go first."""
FOLDER_VARIABLE: Final = "PI0_REMOTE_CACHE"
"""Environment variable: another folder for the cache; empty for none on the disk."""
_HEAD: Final = struct.Struct("<4sIQI")
_MARK: Final = b"pi0b"
RECORD: Final = _HEAD.size + BLOCK


def cache_folder() -> Path | None:
    """Return the folder for blocks of remote files; None where there is to be none."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / "pi0-attention" / "Cache" / "remote" if base else None
    if sys.platform == "darwin":
        return Path("~/Library/Caches/pi0-attention/remote").expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "pi0-attention" / "remote"


class Segment:
    """An open segment, and how far it has been looked through."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.end = 0


class BlockCache:
    """The blocks of one version of one file on the disk. Thread-safe; errors of the disk only make it smaller."""

    def __init__(self, folder: Path, address: str, version: str, head: bytes, max_bytes: int = MAX_BYTES) -> None:
        """Open the blocks of a file of which `head` are the first bytes, as the server sent them just now."""
        key = hashlib.sha256("\n".join((address, version)).encode() + b"\n" + head).hexdigest()[:32]
        self._lock = threading.Lock()
        self._places: dict[int, tuple[Segment, int]] = {}
        """Block -> segment and offset."""
        self._segments: dict[str, Segment] = {}
        self._own: Segment | None = None
        self._most = max_bytes
        self._folder: Path | None = None
        with contextlib.suppress(OSError):
            self._folder = _private_folder(folder, key)
            os.utime(self._folder)
            self._look()

    def _look(self) -> None:
        """Take in what processes have appended since the last call."""
        assert self._folder is not None
        for path in self._folder.glob("*.blocks"):
            with contextlib.suppress(OSError):
                if path.name not in self._segments:
                    self._segments[path.name] = Segment(path.open("rb", buffering=0))
                self._index(self._segments[path.name])

    def _index(self, segment: Segment) -> None:
        size = os.fstat(segment.file.fileno()).st_size
        while segment.end + RECORD <= size:
            segment.file.seek(segment.end)
            head = segment.file.read(_HEAD.size)
            if len(head) != _HEAD.size:
                return
            mark, length, block, _ = _HEAD.unpack(head)
            if mark != _MARK or length > BLOCK:
                return
            self._places[block] = segment, segment.end
            segment.end += RECORD

    def read(self, block: int) -> bytes | None:
        """Return a block; None if it is not there."""
        with self._lock:
            position = self._places.get(block)
            if position is None:
                return None
            try:
                position[0].file.seek(position[1])
                record = position[0].file.read(RECORD)
            except (OSError, ValueError):
                record = b""
            if len(record) == RECORD:
                mark, length, number, check = _HEAD.unpack_from(record)
                data = record[_HEAD.size : _HEAD.size + min(length, BLOCK)]
                if (mark, number) == (_MARK, block) and zlib.crc32(data) == check:
                    return data
            del self._places[block]
            return None

    def refresh(self) -> None:
        """Take in the blocks that other processes have stored since."""
        with self._lock, contextlib.suppress(OSError):
            if self._folder is not None:
                self._look()

    def write(self, blocks: dict[int, bytes]) -> None:
        """Store blocks, unless the file has its share of the disk already."""
        records = b"".join(
            _HEAD.pack(_MARK, len(data), block, zlib.crc32(data)) + data.ljust(BLOCK, b"\0")
            for block, data in blocks.items()
        )
        with self._lock:
            if self._folder is None or not records:
                return
            if sum(segment.end for segment in self._segments.values()) + len(records) > self._most:
                return
            try:
                if self._own is None:
                    self._own = self._create()
                start = self._own.file.seek(0, os.SEEK_END)
                if start % RECORD or self._own.file.write(records) != len(records):
                    self._folder = None  # a full disk: what is there is still read
                    return
            except OSError:
                self._folder = None
                return
            self._own.end = start + len(records)
            for index, block in enumerate(blocks):
                self._places[block] = self._own, start + index * RECORD

    def _create(self) -> Segment:
        assert self._folder is not None
        name = f"{os.getpid()}-{secrets.token_hex(4)}.blocks"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        segment = self._segments[name] = Segment(
            os.fdopen(os.open(self._folder / name, flags, 0o600), "r+b", buffering=0)
        )
        return segment

    def close(self) -> None:
        """Close the segments."""
        with self._lock:
            for segment in self._segments.values():
                with contextlib.suppress(OSError):
                    segment.file.close()
            self._segments, self._places, self._folder = {}, {}, None


def _private_folder(folder: Path, key: str) -> Path:
    """Return the folder of a key, which nobody else can read; OSError where somebody else made it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    inner = folder / key
    inner.mkdir(mode=0o700, exist_ok=True)
    if sys.platform != "win32":
        status = inner.lstat()
        if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
            raise PermissionError(f"{inner} belongs to somebody else")
        if status.st_mode & 0o077:
            inner.chmod(0o700)
    return inner


def prune(folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Delete the files used longest ago until at most `max_bytes` bytes are kept; never raises."""
    with contextlib.suppress(OSError):
        caches = []
        for inner in folder.iterdir():
            if len(inner.name) == 32 and inner.is_dir() and not inner.is_symlink():
                size = sum(path.stat().st_size for path in inner.iterdir())
                caches.append((inner.stat().st_mtime, size, inner))
        total = sum(size for _, size, _ in caches)
        for _, size, inner in sorted(caches):
            if total <= max_bytes:
                return
            shutil.rmtree(inner, ignore_errors=True)
            total -= size
