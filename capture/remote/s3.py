"""Files in S3 buckets, with s3fs: its credentials, endpoints and lists; without credentials, public buckets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from capture.remote.address import RemotePath
from capture.remote.connections import FILE_MODE, FOLDER_MODE, MAX_ENTRIES, RemoteStat, require, within
from capture.remote.errors import RemoteChangedError, RemoteError


class S3Server:
    """The buckets that the user's credentials open."""

    def __init__(self) -> None:
        self.generation = 0
        self._system: Any = None
        self._lock = asyncio.Lock()

    async def _files(self) -> Any:
        async with self._lock:
            if self._system is None:
                self._system = await asyncio.to_thread(self._make_system, asyncio.get_running_loop())
                await self._system.set_session()
            return self._system

    @staticmethod
    def _make_system(loop: asyncio.AbstractEventLoop) -> Any:
        s3fs, session = require("s3fs", "s3"), require("botocore.session", "s3")
        return s3fs.S3FileSystem(
            anon=session.get_session().get_credentials() is None,
            asynchronous=True,
            loop=loop,
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={"connect_timeout": 10, "read_timeout": 20, "retries": {"max_attempts": 1}},
        )

    async def reset(self) -> None:
        """Drop the connections; the next request makes new ones."""
        self.generation += 1
        system, self._system = self._system, None
        if system is not None:
            with contextlib.suppress(Exception):
                await system._s3creator.__aexit__(None, None, None)

    async def stat(self, path: RemotePath) -> RemoteStat:
        """Return kind, size and version."""
        system = await self._files()
        return _stat_of(await _ask(system._info(_key(path), refresh=True), path))

    async def list_folder(self, path: RemotePath) -> dict[str, RemoteStat]:
        """Return the entries of a folder by name."""
        system = await self._files()
        entries = await _ask(system._ls(_key(path), detail=True, refresh=True), path, 1 << 20)
        return {entry["name"].rstrip("/").rpartition("/")[2]: _stat_of(entry) for entry in entries[:MAX_ENTRIES]}

    async def resolve(self, path: RemotePath) -> RemotePath:
        """Return the address itself."""
        return path

    async def open(self, path: RemotePath) -> S3Handle:
        """Open an object."""
        return S3Handle(self, path)

    async def fetch(self, path: RemotePath, start: int, stop: int, tag: str) -> tuple[bytes, RemoteStat]:
        """Return the bytes of a range, and the size and version of the object; `tag`: the version that it must have."""
        system = await self._files()
        client = await system.get_s3(path.authority)
        request = {"Bucket": path.authority, "Key": path.path.lstrip("/"), "Range": f"bytes={start}-{stop - 1}"}
        if tag:
            request["IfMatch"] = tag

        async def get() -> tuple[bytes, RemoteStat]:
            answer = await client.get_object(**request)
            size = int(answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"])
            if answer["ContentLength"] > stop - start:
                raise RemoteError(f"The server of {path.shown} does not send parts of files; copy the file here.")
            async with answer["Body"] as body:
                data = bytes(await body.read())
            return data, _stat_of({"type": "file", "size": size, **answer})

        answered: tuple[bytes, RemoteStat] = await _ask(get(), path, stop - start)
        return answered


class S3Handle:
    """An object of one version, that of its first read."""

    checks_version = True

    def __init__(self, server: S3Server, path: RemotePath) -> None:
        self._server, self._path, self._tag = server, path, ""

    async def stat(self) -> RemoteStat:
        """Return the present size and version."""
        return await self._server.stat(self._path)

    async def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        data, status = await self._server.fetch(self._path, start, stop, self._tag)
        self._tag = self._tag or status.tag
        return data

    async def read_head(self, count: int) -> tuple[bytes, RemoteStat]:
        """Return the first bytes, and the size and version that came with them."""
        data, status = await self._server.fetch(self._path, 0, count, "")
        self._tag = status.tag
        return data, status

    async def close(self) -> None:
        """Do nothing: connections belong to the server."""


def _key(path: RemotePath) -> str:
    return f"{path.authority}/{path.path.lstrip('/')}".rstrip("/")


def _stat_of(entry: dict[str, Any]) -> RemoteStat:
    if entry.get("type") == "directory":
        return RemoteStat(FOLDER_MODE, 0)
    modified = 0
    with contextlib.suppress(AttributeError, ValueError, OverflowError):
        modified = int(entry["LastModified"].timestamp()) * 1_000_000_000 if "LastModified" in entry else 0
    return RemoteStat(FILE_MODE, int(entry.get("size") or 0), modified, str(entry.get("ETag", ""))[:200])


async def _ask(request: Any, path: RemotePath, count: int = 0) -> Any:
    """Return the answer to a request, with botocore's errors as those of files."""
    import botocore.exceptions

    try:
        return await within(request, count)
    except RemoteError:
        raise
    except botocore.exceptions.ClientError as error:
        details = error.response.get("Error", {})
        code = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", details.get("Code", "")))
        if code == "404":
            raise FileNotFoundError(2, "No such file or directory", path.shown) from error
        if code == "412":
            raise RemoteChangedError(
                f"{path.name} was changed on the server after it was opened; open it again (F5)."
            ) from error
        if code == "416":
            raise RemoteError(f"{path.shown} is empty; record it again.") from error
        if code == "429" or code.startswith("5"):
            raise ConnectionResetError(f"HTTP {code}") from error
        raise RemoteError(
            f"{path.shown} may not be read (HTTP {code}, {details.get('Code', '')}); check your credentials."
        ) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise RemoteError(f"{path.shown} needs credentials; set them up as for the aws command.") from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.HTTPClientError) as error:
        raise ConnectionResetError(" ".join(str(error).split())[:160]) from error
    except PermissionError as error:
        raise RemoteError(f"{path.shown} may not be read; check your credentials for its bucket.") from error
