"""Addresses of files on other machines, with the part of `pathlib.Path`'s interface that readers of files use.

Standard library only; what talks to servers is imported by the first call that needs one.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from capture.errors import UserError

if TYPE_CHECKING:
    from capture.remote.connections import RemoteStat

SCHEMES: Final = ("ssh", "sftp", "https", "http", "s3", "hf")
MAX_LENGTH: Final = 4096
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")
_USER: Final = re.compile(r"[A-Za-z0-9._+$][A-Za-z0-9._+$@\\-]*")
_SAFE: Final = "/~@:+,=!$&'()*;[] "
"""Characters of a path that an address shows as they are."""


@dataclass(frozen=True, slots=True)
class RemotePath:
    """A file or folder on another machine. Every method but those that only handle names asks its server.

    Methods named as in `pathlib.Path` do the same, and raise the same errors, or `RemoteError` where the server cannot
    be reached. None of them follows an address that a file contains.
    """

    scheme: str
    authority: str
    """`user@host:port` of ssh and https, the bucket of s3, `datasets/owner/name@revision` of hf."""
    path: str
    """Absolute path there, decoded; of ssh also `~/…` in the home folder."""
    query: str = ""
    """What follows `?` in an https address. It may hold a signature, so that no message shows it."""

    def __str__(self) -> str:
        return self.shown + (f"?{self.query}" if self.query else "")

    @property
    def shown(self) -> str:
        """The address without its query, for messages."""
        path = f"/{self.path}" if self.path.startswith("~") else self.path
        return f"{self.scheme}://{self.authority}{quote(path, safe=_SAFE)}"

    @property
    def is_secret(self) -> bool:
        """Whether the address may hold a signature, which is not to be stored in settings or files."""
        return bool(self.query)

    # Names

    @property
    def name(self) -> str:
        """The last part of the path; the host, bucket or repository where there is none."""
        return PurePosixPath(self.path).name or self.authority.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on."""
        return PurePosixPath(self.name).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path."""
        return PurePosixPath(self.path).parts

    @property
    def parent(self) -> RemotePath:
        """The folder of the file."""
        return replace(self, path=str(PurePosixPath(self.path).parent), query="")

    def with_name(self, name: str) -> RemotePath:
        """Return the address of another file in the same folder."""
        return replace(self, path=str(PurePosixPath(self.path).with_name(name)))

    def __truediv__(self, name: str) -> RemotePath:
        return replace(self, path=str(PurePosixPath(self.path) / name.lstrip("/")), query="")

    def relative_to(self, folder: RemotePath) -> str:
        """Return the path inside a folder, POSIX. Raises ValueError for one that lies elsewhere or has parts `..`."""
        inner = PurePosixPath(self.path).relative_to(folder.path)
        if (self.scheme, self.authority) != (folder.scheme, folder.authority) or ".." in inner.parts:
            raise ValueError(f"{self.shown} does not lie in {folder.shown}")
        return str(inner)

    @property
    def has_lists(self) -> bool:
        """Whether the server lists the files of a folder; those of https do not."""
        return self.scheme not in ("https", "http")

    def absolute(self) -> RemotePath:
        """Return the address itself."""
        return self

    def expanduser(self) -> RemotePath:
        """Return the address itself."""
        return self

    # What the server knows

    def remote_stat(self, *, is_fresh: bool = False) -> RemoteStat:
        """Return kind, size and version of the file or folder; an answer may be two seconds old unless `is_fresh`.

        Raises FileNotFoundError, PermissionError or RemoteError.
        """
        from capture.remote import connections

        return connections.stat(self, is_fresh=is_fresh)

    def stat(self) -> os.stat_result:
        """Return mode, size and modification time; the rest is 0."""
        status = self.remote_stat()
        seconds = status.modified_ns // 1_000_000_000
        return os.stat_result((status.mode, 0, 0, 1, 0, 0, status.size, seconds, seconds, seconds))

    def exists(self) -> bool:
        """Return whether there is such a file or folder."""
        try:
            self.remote_stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def is_file(self) -> bool:
        """Return whether there is such a file."""
        try:
            return self.remote_stat().is_file
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_dir(self) -> bool:
        """Return whether there is such a folder."""
        try:
            return self.remote_stat().is_folder
        except (FileNotFoundError, NotADirectoryError):
            return False

    def list_folder(self) -> dict[str, RemoteStat]:
        """Return the entries of the folder by name, links not followed. Raises OSError."""
        from capture.remote import connections

        return connections.list_folder(self)

    def resolve(self) -> RemotePath:
        """Return the address with the server's links followed; the address itself where a server has no links."""
        from capture.remote import connections

        return connections.resolve(self)

    def open(self, mode: str = "rb") -> io.RawIOBase:
        """Open the file for reading. Raises OSError."""
        from capture.remote.remote_file import RemoteFile

        if mode != "rb":
            raise ValueError(f"a remote file is only read, not opened with mode {mode}")
        return RemoteFile(self)

    def read_bytes(self) -> bytes:
        """Return the content of a small file. Raises OSError."""
        with self.open() as file:
            return file.read() or b""


Location = Path | RemotePath
"""Where a results file or run lies: on this machine or on another."""


def is_address(text: str) -> bool:
    """Return whether a text is an address and not a path of this machine."""
    return _ADDRESS.match(text) is not None


def parse_location(text: str) -> Location:
    """Return the address in `text`, or else the path of this machine. Raises UserError for an unusable address."""
    match = _ADDRESS.match(text.strip())
    if not match:
        return Path(text)
    scheme = match[1].lower()
    if scheme not in SCHEMES:
        raise UserError(
            f"{scheme}:// is not a kind of address that can be opened; use ssh://, https://, s3:// or hf://datasets/."
        )
    return _parse_address(scheme, text.strip())


def _parse_address(scheme: str, text: str) -> RemotePath:
    if len(text) > MAX_LENGTH or any(not letter.isprintable() for letter in text):
        raise UserError("The address is too long or holds control characters; check it.")
    location = text.partition("://")[2]
    if scheme == "hf":
        return _parse_hugging_face(text, location)
    authority, slash, path = location.partition("/")
    query = ""
    if scheme in ("https", "http"):
        parsed = urlsplit(text)
        authority, path, query = parsed.netloc, parsed.path.lstrip("/"), parsed.query
    if scheme == "s3":
        if not authority or "@" in authority:
            raise UserError(f"{text[:200]} names no bucket; write s3://bucket/folder/file.h5.")
        return RemotePath("s3", authority, _normal(path))
    _check_authority(scheme, authority)
    path = unquote(path)
    if scheme == "sftp":
        scheme = "ssh"
    if scheme == "ssh" and not slash:
        raise UserError(f"{text[:200]} names no file; write {scheme}://user@host/path/file.h5.")
    if scheme == "ssh" and (path == "~" or path.startswith("~/")):
        return RemotePath(scheme, authority, path)
    return RemotePath(scheme, authority, _normal(path), query)


def _normal(path: str) -> str:
    """Return a path from the root, without empty parts and dots; parts `..` stay, as links may lie before them."""
    return str(PurePosixPath("/" + path.lstrip("/")))


def _check_authority(scheme: str, authority: str) -> None:
    user, at, place = authority.rpartition("@")
    if at and ":" in user:
        raise UserError(
            "The address holds a password, which is neither used nor stored; leave it out: ssh uses keys and the agent."
        )
    if at and scheme != "ssh" and scheme != "sftp":
        raise UserError("An https address with a user name cannot be opened; leave the part before the @ out.")
    if at and not _USER.fullmatch(user):
        raise UserError(f"{user[:100]} cannot be a user name; write ssh://user@host/path.")
    host, port = (place, "") if place.endswith("]") or ":" not in place else place.rsplit(":", 1)
    if not _HOST.fullmatch(host) or host.startswith("-"):
        raise UserError(f"{host[:100] or 'The address'} is no host name; write {scheme}://host/path/file.h5.")
    if ":" in place and not place.endswith("]") and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise UserError(f"{port[:20]} is not a port number; write {scheme}://host:22/path or leave it out.")


def _parse_hugging_face(text: str, location: str) -> RemotePath:
    parts = [part for part in location.split("/") if part]
    count = 3 if parts[:1] and parts[0] in ("datasets", "spaces") else 2
    if len(parts) < count or ".." in parts:
        raise UserError(f"{text[:200]} names no file; write hf://datasets/owner/name/file.h5.")
    return RemotePath("hf", "/".join(parts[:count]), "/" + "/".join(parts[count:]))


def split_authority(authority: str) -> tuple[str, str, int | None]:
    """Return user (empty if absent), host without brackets, and port of `user@host:port`."""
    user, _, place = authority.rpartition("@")
    host, port = (place, "") if place.endswith("]") or ":" not in place else place.rsplit(":", 1)
    return user, host.strip("[]"), int(port) if port else None
