"""Connections to servers: one for each user and host, made again when it is lost, and the requests to them.

A server that cannot be reached is asked `TRIES` times. The functions here wait; call them from a thread that may.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import socket
import stat as modes
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from capture.remote import event_loop
from capture.remote.address import RemotePath
from capture.remote.errors import ConnectionLostError, RemoteError

T = TypeVar("T")

TRIES: Final = 3
PAUSE_SECONDS: Final = (0.2, 1.0)
"""Pauses between the tries."""
CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 10.0
"""Longest time for one request, plus what its bytes take at `SLOWEST`."""
SLOWEST: Final = 50_000
"""Bytes a second below which a connection counts as lost."""
MEMO_SECONDS: Final = 2.0
"""Time for which an answer about a file is reused: opening one file asks several times."""
MOST_MEMOS: Final = 4096
MAX_ENTRIES: Final = 200_000
"""Entries of a folder that are listed."""
PACKAGES: Final = {"botocore": "s3fs"}
"""Packages that another one brings."""
LOST: Final = (ConnectionError, TimeoutError, EOFError, asyncio.IncompleteReadError)
"""Errors after which the connection is made again."""


@dataclass(frozen=True, slots=True)
class RemoteStat:
    """Kind, size and version of a file or folder."""

    mode: int
    """As of `os.stat`."""
    size: int
    modified_ns: int = 0
    """Modification time; 0 where the server does not say."""
    tag: str = ""
    """The server's name for exactly this content (a strong ETag); empty where it has none."""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return modes.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return modes.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return modes.S_ISLNK(self.mode)

    @property
    def version(self) -> str:
        """A text that changes with the content; empty where the server sends no such header."""
        if not self.tag and not self.modified_ns:
            return ""
        return f"{self.size} {self.tag or self.modified_ns}"


FOLDER_MODE: Final = modes.S_IFDIR | 0o755
FILE_MODE: Final = modes.S_IFREG | 0o644


class Handle(Protocol):
    """An open file on a server."""

    checks_version: bool
    """Whether reads themselves find out that the file has changed."""

    async def stat(self) -> RemoteStat:
        """Return the present size and version."""

    async def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`; fewer only at the end of the file."""

    async def read_head(self, count: int) -> tuple[bytes, RemoteStat]:
        """Return the first `count` bytes and the file's size and version, which belong together."""

    async def close(self) -> None:
        """Give the file back; never raises."""


class Server(Protocol):
    """A connection to one server. Errors in `LOST` mean that it is to be made again."""

    generation: int
    """Number of times that the connection was dropped."""

    async def stat(self, path: RemotePath) -> RemoteStat:
        """Return kind, size and version; links are followed."""

    async def list_folder(self, path: RemotePath) -> dict[str, RemoteStat]:
        """Return at most MAX_ENTRIES entries of a folder by name; links are not followed."""

    async def resolve(self, path: RemotePath) -> RemotePath:
        """Return the address with links followed."""

    async def open(self, path: RemotePath) -> Handle:
        """Open a file."""

    async def reset(self) -> None:
        """Drop a lost connection; the next request makes a new one."""


_lock = threading.Lock()
_servers: dict[tuple[int, str, str], Server] = {}
_memos: dict[RemotePath, tuple[float, RemoteStat | OSError]] = {}


def get_server(path: RemotePath) -> Server:
    """Return the connection for an address; it connects with its first request."""
    loop = event_loop.get_loop()
    key = (id(loop), path.scheme, path.authority if path.scheme in ("ssh", "https", "http") else "")
    with _lock:
        if key not in _servers:
            if not _servers:
                atexit.register(close)
            _servers[key] = _make_server(path)
        return _servers[key]


def close() -> None:
    """Close all connections of this process."""
    with _lock:
        servers = [server for (loop, *_), server in _servers.items() if loop == id(event_loop.get_loop())]
        _servers.clear()
        _memos.clear()

    async def reset() -> None:
        for server in servers:
            with contextlib.suppress(Exception):
                await server.reset()

    if servers:
        with contextlib.suppress(TimeoutError):
            event_loop.run(asyncio.wait_for(reset(), 2))


def _make_server(path: RemotePath) -> Server:
    match path.scheme:
        case "ssh":
            from capture.remote.ssh import SSHServer

            return SSHServer(path.authority)
        case "https" | "http":
            from capture.remote.http import HTTPServer

            return HTTPServer()
        case "s3":
            from capture.remote.s3 import S3Server

            return S3Server()
        case _:
            from capture.remote.hugging_face import HuggingFaceServer

            return HuggingFaceServer()


async def repeat(path: RemotePath, ask: Callable[[Server], Awaitable[T]]) -> T:
    """Return what `ask(server)` returns; it is called up to TRIES times, each time on a new connection.

    Raises ConnectionLostError when the last try failed too.
    """
    server = get_server(path)
    for number in range(TRIES):
        generation = server.generation
        try:
            return await ask(server)
        except socket.gaierror as error:
            await _reset(server, generation)
            host = path.authority.rpartition("@")[2]
            raise ConnectionLostError(
                f"There is no machine {host} on the network ({error.strerror or error}); check address and network."
            ) from error
        except LOST as error:
            await _reset(server, generation)
            if number == TRIES - 1:
                raise ConnectionLostError(
                    f"{path.authority} does not answer ({_describe(error)}, {TRIES} tries); "
                    "check the network and try again."
                ) from error
        except OSError as error:
            if isinstance(error, RemoteError | FileNotFoundError | PermissionError | NotADirectoryError):
                raise
            await _reset(server, generation)
            if number == TRIES - 1:
                raise ConnectionLostError(
                    f"{path.authority} cannot be reached ({_describe(error)}, {TRIES} tries); "
                    "check the network and try again."
                ) from error
        await asyncio.sleep(PAUSE_SECONDS[min(number, len(PAUSE_SECONDS) - 1)])
    raise AssertionError("the last try returns or raises")


async def _reset(server: Server, generation: int) -> None:
    """Drop the connection with which a request failed, unless another request has done so already."""
    if server.generation == generation:
        await server.reset()


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split())[:160] or type(error).__name__


async def within(awaitable: Awaitable[T], count: int = 0) -> T:
    """Return the result of a request for `count` bytes; TimeoutError where it takes too long."""
    return await asyncio.wait_for(awaitable, REQUEST_SECONDS + count / SLOWEST)


def stat(path: RemotePath, *, is_fresh: bool = False) -> RemoteStat:
    """Return kind, size and version of a file or folder, see `RemotePath.remote_stat`."""
    memo = None if is_fresh else _memos.get(path)
    if memo is not None and time.monotonic() - memo[0] < MEMO_SECONDS:
        if isinstance(memo[1], OSError):
            raise memo[1]
        return memo[1]
    try:
        answer: RemoteStat | OSError = event_loop.run(repeat(path, lambda server: server.stat(path)))
    except (FileNotFoundError, NotADirectoryError) as error:
        answer = error
    remember(path, answer)
    if isinstance(answer, OSError):
        raise answer
    return answer


def remember(path: RemotePath, answer: RemoteStat | OSError) -> None:
    """Keep an answer about a file for MEMO_SECONDS."""
    if len(_memos) >= MOST_MEMOS:
        _memos.clear()
    _memos[path] = time.monotonic(), answer


def list_folder(path: RemotePath) -> dict[str, RemoteStat]:
    """Return the entries of a folder by name."""
    return event_loop.run(repeat(path, lambda server: server.list_folder(path)))


def resolve(path: RemotePath) -> RemotePath:
    """Return the address with links followed."""
    return event_loop.run(repeat(path, lambda server: server.resolve(path)))


def with_path(path: RemotePath, other: str) -> RemotePath:
    """Return the address of another path on the same server."""
    return replace(path, path=other, query="")


def missing_package(package: str, purpose: str) -> RemoteError:
    """Return the error for an address whose package is not installed."""
    package = package.partition(".")[0]
    extra = "" if package in ("asyncssh", "aiohttp") else f" {PACKAGES.get(package, package)}"
    return RemoteError(f"{purpose} addresses need the package {package}: pip install 'pi0-attention[remote]'" + extra)


def require(package: str, scheme: str) -> Any:
    """Import and return a package that an address needs. Raises RemoteError where it is missing."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise missing_package(package, f"{scheme}://") from None
