"""Files over SSH (SFTP), with asyncssh: the user's keys, agent and `~/.ssh/config`, and host keys that ssh knows.

sshfs, fsspec's back end on asyncssh, is not used: it accepts every host key unless told otherwise, fetches the whole
file for a range of it, and cannot send several requests for one open file at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Final

from capture.remote.address import RemotePath, split_authority
from capture.remote.connections import CONNECT_SECONDS, MAX_ENTRIES, RemoteStat, require, with_path, within
from capture.remote.errors import RemoteError

KNOWN_HOSTS: Final = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
"""Files in which ssh looks for host keys where its configuration names no others."""
KEEP_ALIVE_SECONDS: Final = 10


class SSHServer:
    """An SFTP session of one user on one host."""

    def __init__(self, authority: str) -> None:
        self.authority = authority
        self.generation = 0
        self._connection: Any = None
        self._session: Any = None
        self._lock = asyncio.Lock()

    async def _sftp(self) -> Any:
        async with self._lock:
            if self._session is None:
                asyncssh = await asyncio.to_thread(require, "asyncssh", "ssh")
                try:
                    self._connection = await asyncio.wait_for(self._connect(asyncssh), 2 * CONNECT_SECONDS)
                    self._session = await within(self._connection.start_sftp_client())
                except asyncssh.Error as error:
                    await self._drop()
                    raise self._connect_error(asyncssh, error) from error
                except BaseException:
                    await self._drop()
                    raise
            return self._session

    async def _connect(self, asyncssh: Any) -> Any:
        user, host, port = split_authority(self.authority)
        options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "login_timeout": CONNECT_SECONDS}
        options |= {"username": user} if user else {}
        options |= {"port": port} if port else {}
        unknown: list[str] = []

        class Client(asyncssh.SSHClient):  # type: ignore[misc]
            """Notes the key of a host that is not known, and refuses it."""

            def validate_host_public_key(self, _host: str, _addr: str, _port: int, key: Any) -> bool:
                unknown.append(str(key.get_fingerprint()))
                return False

        prepared = await asyncio.to_thread(
            asyncssh.SSHClientConnectionOptions,
            host=host,
            client_factory=Client,
            # No password is asked for, sent or stored; the agent and unlocked keys log in.
            password_auth=False,
            kbdint_auth=False,
            agent_forwarding=False,
            keepalive_interval=KEEP_ALIVE_SECONDS,
            keepalive_count_max=2,
            compression_algs=None,  # attention weights hardly shrink, and it costs latency
            **options,
        )
        files = prepared.known_hosts
        if not files:  # () where no file is named; None for `UserKnownHostsFile none`, which would trust every host
            files = (
                [] if files is None else [str(path) for path in map(_expand, KNOWN_HOSTS) if os.access(path, os.R_OK)]
            )
        try:
            return await asyncssh.connect(host, options=prepared, known_hosts=files or b"")
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._host_key_error(asyncssh, files, unknown) from error

    def _host_key_error(self, asyncssh: Any, files: list[str], unknown: list[str]) -> RemoteError:
        _, host, port = split_authority(self.authority)
        print_of = f" ({unknown[-1]})" if unknown else ""
        known_keys: list[Any] = []
        with contextlib.suppress(Exception):  # only chooses the words
            known_keys = list(asyncssh.match_known_hosts(files, host, host, port or 22)[0]) if files else []
        host_name = self.authority.rpartition(":")[0] if port else self.authority
        command = f"ssh -p {port} {host_name}" if port else f"ssh {host_name}"
        if known_keys:
            return RemoteError(
                f"The host key of {host}{print_of} is not the one that ssh knows: the machine was set up anew, or "
                f"something stands between. Ask who runs it before you remove the old key (ssh-keygen -R {host})."
            )
        return RemoteError(
            f"ssh does not know the host key of {host}{print_of}; connect once with “{command}” and accept it."
        )

    def _connect_error(self, asyncssh: Any, error: Exception) -> Exception:
        """Return the error to raise for one of asyncssh while connecting."""
        words = " ".join(str(error).split())[:160]
        if isinstance(error, asyncssh.PermissionDenied):
            return RemoteError(
                f"{self.authority} refuses the login: none of your ssh keys is accepted there. Add one to the agent "
                "(ssh-add) or to the server; passwords are not used."
            )
        if isinstance(error, asyncssh.ConnectionLost | asyncssh.DisconnectError):
            return ConnectionResetError(words or "connection closed")
        return RemoteError(f"{self.authority} offers no SFTP that can be used ({words}); check its sshd.")

    async def _drop(self) -> None:
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.abort()

    async def reset(self) -> None:
        """Drop a lost connection; the next request makes a new one."""
        self.generation += 1
        await self._drop()

    async def stat(self, path: RemotePath) -> RemoteStat:
        """Return kind, size and modification time; links are followed."""
        session = await self._sftp()
        return _stat_of(await _ask(session.stat(_sftp_path(path)), path))

    async def list_folder(self, path: RemotePath) -> dict[str, RemoteStat]:
        """Return the entries of a folder by name."""
        session = await self._sftp()
        entries: dict[str, RemoteStat] = {}

        async def collect() -> None:
            async for entry in session.scandir(_sftp_path(path)):
                if entry.filename not in (".", "..") and "/" not in entry.filename:
                    entries[entry.filename] = _stat_of(entry.attrs)
                if len(entries) >= MAX_ENTRIES:
                    return

        await _ask(collect(), path, count=1 << 20)
        return entries

    async def resolve(self, path: RemotePath) -> RemotePath:
        """Return the address with links followed."""
        session = await self._sftp()
        return with_path(path, str(await _ask(session.realpath(_sftp_path(path)), path)))

    async def open(self, path: RemotePath) -> SSHHandle:
        """Open a regular file; others, such as pipes, could keep the server waiting."""
        session = await self._sftp()
        status = _stat_of(await _ask(session.stat(_sftp_path(path)), path))
        if not status.is_file:
            raise RemoteError(f"{path.shown} is not a regular file; open a results file (.h5).")
        return SSHHandle(path, await _ask(session.open(_sftp_path(path), "rb", encoding=None), path))


class SSHHandle:
    """An open file, which stays the same file when its name is given to another."""

    checks_version = False

    def __init__(self, path: RemotePath, file: Any) -> None:
        self._path, self._file = path, file

    async def stat(self) -> RemoteStat:
        """Return the present size and modification time."""
        return _stat_of(await _ask(self._file.stat(), self._path))

    async def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        return bytes(await _ask(self._file.read(stop - start, start), self._path, count=stop - start))

    async def read_head(self, count: int) -> tuple[bytes, RemoteStat]:
        """Return the first bytes and the size and modification time; the server answers both in turn."""
        head, status = await asyncio.gather(self.read(0, count), self.stat())
        return head, status

    async def close(self) -> None:
        """Close the file on the server."""
        with contextlib.suppress(Exception):
            await within(self._file.close())


async def _ask(request: Any, path: RemotePath, count: int = 0) -> Any:
    """Return the answer to a request for `count` bytes, with asyncssh's errors as those of files."""
    import asyncssh

    try:
        return await within(request, count)
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
        raise FileNotFoundError(2, "No such file or directory", path.shown) from error
    except asyncssh.SFTPPermissionDenied as error:
        raise PermissionError(13, "Permission denied", path.shown) from error
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost) as error:
        raise ConnectionResetError("connection closed") from error
    except asyncssh.DisconnectError as error:
        raise ConnectionResetError(str(error)[:160]) from error
    except asyncssh.Error as error:
        raise RemoteError(
            f"{path.shown} cannot be read: the server says “{' '.join(str(error).split())[:160]}”; check the path."
        ) from error
    except ValueError as error:  # asyncssh's handle after its session is gone
        raise ConnectionResetError("connection closed") from error


def _stat_of(attributes: Any) -> RemoteStat:
    seconds, part = attributes.mtime or 0, getattr(attributes, "mtime_ns", None) or 0
    return RemoteStat(attributes.permissions or 0, attributes.size or 0, seconds * 1_000_000_000 + part)


def _sftp_path(path: RemotePath) -> str:
    """Return a path for SFTP, whose relative paths begin in the home folder."""
    return path.path[2:] or "." if path.path.startswith("~") else path.path


def _expand(name: str) -> Path:
    return Path(name).expanduser()
