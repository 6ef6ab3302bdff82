"""Files over HTTP in ranges, with aiohttp.

Every answer is checked to be the range that was asked for, of the version that was opened. Redirects are followed to
the same server or to public addresses only, so that a server cannot make this machine ask others inside its network;
credentials for one server are never sent to another. fsspec's HTTP back end, which checks none of this, is not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from capture.remote.address import RemotePath
from capture.remote.connections import CONNECT_SECONDS, FILE_MODE, FOLDER_MODE, RemoteStat, require, within
from capture.remote.errors import RemoteChangedError, RemoteError
from capture.results import schema

CONNECTIONS: Final = 6
"""Connections to one server at a time, as browsers have."""
MOST_REDIRECTS: Final = 5
FILE_SUFFIXES: Final = (".h5", ".hdf5", ".json", ".failed", schema.PARTIAL_SUFFIX)
"""Suffixes of files; any other path is a folder if it holds an index."""
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_PORTS: Final = {"http": 80, "https": 443}


class Answer:
    """Bytes of a file, and what the server said about the whole."""

    def __init__(self, data: bytes, status: RemoteStat, url: str) -> None:
        self.data, self.status, self.url = data, status, url
        """`url`: the address that answered, after redirects."""


class HTTPServer:
    """HTTP connections that are kept open between requests."""

    def __init__(self) -> None:
        self.generation = 0
        self._session: Any = None
        self._requested_hosts: set[str] = set()
        """Hosts that the user named; only they may have private addresses."""

    async def _client(self) -> Any:
        if self._session is None:
            aiohttp = await asyncio.to_thread(require, "aiohttp", "https")
            requested = self._requested_hosts

            class Resolver(aiohttp.ThreadedResolver):  # type: ignore[misc,name-defined]
                """Resolves names, those that the user did not ask for only to public addresses."""

                async def resolve(self, host: str, port: int = 0, family: Any = 2) -> Any:
                    addresses = await super().resolve(host, port, family)
                    if host not in requested and not all(is_public(address["host"]) for address in addresses):
                        raise _redirect_error(host)
                    return addresses

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit_per_host=CONNECTIONS, resolver=Resolver()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "pi0-attention"},
            )
        return self._session

    async def reset(self) -> None:
        """Close all connections; the next request makes new ones."""
        self.generation += 1
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):
                await session.close()

    def build_url(self, path: RemotePath) -> str:
        """Return the URL of a file."""
        return f"{path.scheme}://{path.authority}{quote(path.path, safe='/~@:+,=!$&()*;')}" + (
            f"?{path.query}" if path.query else ""
        )

    def build_login_headers(self, _url: str) -> Mapping[str, str]:
        """Return headers that log in to a URL's server; none here."""
        return {}

    async def fetch(
        self, path: RemotePath, start: int, stop: int, expected: RemoteStat | None = None, url: str = ""
    ) -> Answer:
        """Return the bytes of a range, fewer at the end of the file.

        `expected`: the file's version, if it is known; RemoteChangedError where the server has another one. `url`: an
        address to which the file's was redirected before.
        """
        first = self.build_url(path)
        self._requested_hosts.add(urlsplit(first).hostname or "")
        url = url or first
        for _ in range(MOST_REDIRECTS + 1):
            response = await within(self._request(path, url, start, stop, expected), stop - start)
            if isinstance(response, Answer):
                return response
            url = _redirected(first, url, response)
        raise RemoteError(
            f"{path.shown} is redirected more than {MOST_REDIRECTS} times; use the address of the file itself."
        )

    async def _request(
        self, path: RemotePath, url: str, start: int, stop: int, expected: RemoteStat | None
    ) -> Answer | str:
        """Return the answer of one server, or where it redirects to."""
        session = await self._client()
        headers = {"Range": f"bytes={start}-{stop - 1}", **self.build_login_headers(url)}
        if expected is not None and expected.tag:
            headers["If-Match"] = expected.tag
        import aiohttp

        try:
            async with session.get(url, headers=headers, allow_redirects=False, proxy=_proxy(url)) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    return str(response.headers["Location"])
                return await _read(path, url, response, start, stop, expected)
        except aiohttp.ClientConnectorDNSError as error:
            raise error.os_error from error
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            raise RemoteError(
                f"The certificate of {urlsplit(url).hostname} cannot be trusted; ask who runs it, or copy the file."
            ) from error
        except aiohttp.InvalidURL as error:
            raise RemoteError(f"{path.shown} is no address that can be asked for; check it.") from error
        except aiohttp.ClientConnectionError as error:
            if isinstance(error.__cause__, RemoteError):
                raise error.__cause__ from None
            raise ConnectionResetError(" ".join(str(error).split())[:160] or "connection closed") from error
        except aiohttp.ClientResponseError as error:
            raise RemoteError(f"{path.authority} does not answer as an HTTP server does; check the address.") from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            raise ConnectionResetError(" ".join(str(error).split())[:160] or type(error).__name__) from error

    async def stat(self, path: RemotePath) -> RemoteStat:
        """Return size and version of a file; a folder is what has an index and no suffix of a file."""
        if not path.path.endswith(FILE_SUFFIXES) and not path.query:
            with contextlib.suppress(FileNotFoundError, RemoteError):
                await self.fetch(path / schema.INDEX_NAME, 0, 1)
                return RemoteStat(FOLDER_MODE, 0)
            raise FileNotFoundError(2, f"No {schema.INDEX_NAME} there", path.shown)
        return (await self.fetch(path, 0, 1)).status

    async def list_folder(self, path: RemotePath) -> dict[str, RemoteStat]:
        """Raise RemoteError: HTTP has no lists of files."""
        raise RemoteError(
            f"{path.shown} has no {schema.INDEX_NAME}, and an https server lists no files; name a results file (.h5)."
        )

    async def resolve(self, path: RemotePath) -> RemotePath:
        """Return the address itself."""
        return path

    async def open(self, path: RemotePath) -> HTTPHandle:
        """Return a handle; its first read asks the server."""
        return HTTPHandle(self, path)


class HTTPHandle:
    """A file of one version, that of its first read."""

    checks_version = True

    def __init__(self, server: HTTPServer, path: RemotePath) -> None:
        self._server, self._path = server, path
        self._version: RemoteStat | None = None
        self._url = ""

    async def stat(self) -> RemoteStat:
        """Return the present size and version."""
        return (await self._server.fetch(self._path, 0, 1)).status

    async def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        return (await self._fetch(start, stop)).data

    async def read_head(self, count: int) -> tuple[bytes, RemoteStat]:
        """Return the first bytes, and the size and version that came with them."""
        answer = await self._fetch(0, count)
        return answer.data, answer.status

    async def _fetch(self, start: int, stop: int) -> Answer:
        url = self._url
        try:
            answer = await self._server.fetch(self._path, start, stop, self._version, url)
        except (RemoteError, FileNotFoundError) as error:
            if not url or isinstance(error, RemoteChangedError):
                raise
            # What it was redirected to may have been valid for some minutes only.
            answer = await self._server.fetch(self._path, start, stop, self._version)
        self._url = answer.url if answer.url != self._server.build_url(self._path) else ""
        self._version = self._version or answer.status
        return answer

    async def close(self) -> None:
        """Do nothing: connections belong to the server."""


async def _read(
    path: RemotePath, url: str, response: Any, start: int, stop: int, expected: RemoteStat | None
) -> Answer:
    status, headers = response.status, response.headers
    if status in (404, 410):
        raise FileNotFoundError(2, "No such file or directory", path.shown)
    if status in (401, 403):
        raise RemoteError(
            f"{path.shown} may not be read (HTTP {status}): it needs a login, or its signed address has expired."
        )
    if status == 412:
        raise changed(path)
    if status == 429 or status >= 500:
        raise ConnectionResetError(f"HTTP {status}")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise RemoteError(
            f"{path.shown} comes compressed, so that parts of it cannot be read; copy it to this machine."
        )
    if status == 416:
        size = headers.get("Content-Range", "").removeprefix("bytes */")
        return Answer(b"", _stat_of(headers, int(size) if size.isdecimal() and len(size) < 19 else 0), url)
    if status == 206:
        match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if not match or int(match[1]) != start or not start <= int(match[2]) < min(stop, int(match[3])):
            raise RemoteError(f"The server of {path.shown} sends other parts than it is asked for; copy the file here.")
        size, count, skip = int(match[3]), int(match[2]) - start + 1, 0
        if int(match[2]) + 1 < min(stop, size):
            raise ConnectionResetError("the answer is too short")
    elif status == 200:  # no ranges: usable for what is small
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() and len(length) < 19 else -1
        if not 0 <= size <= max(stop, 1 << 16):
            raise RemoteError(
                f"The server of {path.shown} does not send parts of files (no HTTP ranges); copy the file to this "
                "machine and open the copy."
            )
        count, skip = size, start
    else:
        raise RemoteError(f"{path.shown} cannot be read (HTTP {status}); check the address.")
    stat = _stat_of(headers, size)
    if expected is not None and (stat.size, stat.version) != (expected.size, expected.version):
        raise changed(path)
    data = await response.content.readexactly(count) if count else b""
    return Answer(data[skip:][: stop - start], stat, url)


def changed(path: RemotePath) -> RemoteChangedError:
    """Return the error for a file of which the server has another version than the opened one."""
    return RemoteChangedError(f"{path.name} was changed on the server after it was opened; open it again (F5).")


def _stat_of(headers: Mapping[str, str], size: int) -> RemoteStat:
    tag, modified = headers.get("ETag", ""), 0
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        modified = int(parsedate_to_datetime(headers.get("Last-Modified", "")).timestamp()) * 1_000_000_000
    # A weak tag says that two versions mean the same, not that they have the same bytes.
    return RemoteStat(FILE_MODE, size, modified, "" if tag.startswith("W/") or len(tag) > 200 else tag)


# Redirects


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet."""
    try:
        return ipaddress.ip_address(address.strip("[]").partition("%")[0]).is_global
    except ValueError:
        return False


def _redirected(first: str, url: str, target: str) -> str:
    """Return the absolute URL of a redirect. Raises RemoteError where it may not be followed."""
    target = urljoin(url, target)
    first_url, to = urlsplit(first), urlsplit(target)
    try:
        first_port, port = first_url.port or _PORTS.get(first_url.scheme), to.port or _PORTS.get(to.scheme)
    except ValueError:
        raise _redirect_error("a port that cannot be") from None
    is_allowed_scheme = to.scheme == "https" or (to.scheme == "http" and first_url.scheme == "http")
    if not is_allowed_scheme or not to.hostname or to.username is not None or len(target) > 8192:
        raise _redirect_error(f"{to.scheme}://{to.hostname or ''}")
    if to.hostname == first_url.hostname:
        if port != first_port and not (first_url.scheme == "http" and to.scheme == "https"):
            raise _redirect_error(f"port {port} of {to.hostname}")
        return target
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(to.hostname)
        if not is_public(to.hostname):
            raise _redirect_error(to.hostname)
    return target


def _redirect_error(where: str) -> RemoteError:
    return RemoteError(
        f"The server redirects to {where[:100]}, which is not followed: it may be a machine inside your network. "
        "Use the address of the file itself."
    )


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, as other programs use it."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
