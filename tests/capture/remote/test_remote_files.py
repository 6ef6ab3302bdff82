"""Bytes of files on real servers: HTTP that counts, and OpenSSH's sshd."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from remote_servers import RangeServer, Relay, SSHDaemon, closing

from capture.remote import connections
from capture.remote.address import RemotePath, parse_location
from capture.remote.block_cache import BLOCK
from capture.remote.errors import ConnectionLostError, RemoteChangedError, RemoteError
from capture.remote.remote_file import HEAD_BYTES, RemoteSource

CONTENT = bytes(range(256)) * 8192
"""2 MB."""


def remote(text: str) -> RemotePath:
    location = parse_location(text)
    assert isinstance(location, RemotePath)
    return location


def write(path: Path, content: bytes = CONTENT, *, age: float = 3600) -> Path:
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def read(address: str, *ranges: tuple[int, int]) -> list[bytes]:
    """Open a file, read some ranges and close it."""
    with RemoteSource(remote(address)) as source:
        return source.read_ranges(ranges)


@pytest.fixture
def opened() -> Iterator[Callable[[RemotePath], RemoteSource]]:
    """Opens files that are closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(RemoteSource(path))


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSE_SECONDS", (0.01, 0.02))


def test_http_ranges_are_merged_into_few_requests(
    server: RangeServer, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    write(server.folder / "a.h5")
    source = opened(remote(f"{server.url}/a.h5"))
    assert source.size == len(CONTENT)
    server.reset()
    ranges = [(10 * BLOCK + 5, 100), (11 * BLOCK, 3), (13 * BLOCK, 7), (60 * BLOCK - 3, 6), (len(CONTENT) - 4, 9)]
    parts = source.read_ranges(ranges)
    assert parts == [CONTENT[offset : offset + size] for offset, size in ranges]
    # Blocks 10 to 13 in one request, 59 and 60 in another, the last one in a third.
    assert sorted(range_header for _, range_header in server.requests) == sorted(
        [f"bytes={10 * BLOCK}-{14 * BLOCK - 1}", f"bytes={59 * BLOCK}-{61 * BLOCK - 1}", f"bytes={127 * BLOCK}-2097151"]
    )
    assert source.bytes_fetched == HEAD_BYTES + server.sent
    source.close()


def test_blocks_on_the_disk_are_not_fetched_again(
    server: RangeServer, cache: Path, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    write(server.folder / "a.h5")
    first = opened(remote(f"{server.url}/a.h5"))
    first.read_ranges([(500_000, 200_000)])
    first.close()
    server.reset()
    second = opened(remote(f"{server.url}/a.h5"))
    assert second.read_ranges([(500_000, 200_000)]) == [CONTENT[500_000:700_000]]
    assert [range_header for _, range_header in server.requests] == [f"bytes=0-{HEAD_BYTES - 1}"]
    second.close()
    assert {path.stat().st_mode & 0o777 for path in cache.rglob("*.blocks")} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o700}


@pytest.mark.parametrize("change", ["tag", "size", "head"])
def test_changed_file_shares_no_block_with_the_old_one(server: RangeServer, change: str) -> None:
    file = write(server.folder / "a.h5")
    server.tag = (lambda _: '"same"') if change != "tag" else server.tag
    read(f"{server.url}/a.h5", (500_000, 10))
    new = bytes(len(CONTENT)) if change != "head" else b"other" + bytes(len(CONTENT) - 5)
    write(file, new[: -1 if change == "size" else None], age=7200)
    assert read(f"{server.url}/a.h5", (500_000, 10)) == [bytes(10)]


def test_damaged_block_on_the_disk_is_fetched_again(server: RangeServer, cache: Path) -> None:
    write(server.folder / "a.h5")
    read(f"{server.url}/a.h5", (500_000, 10))
    for path in cache.rglob("*.blocks"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content[:-1] if len(content) > BLOCK + 100 else content)
    assert read(f"{server.url}/a.h5", (500_000, 10)) == [CONTENT[500_000:500_010]]


def test_file_that_changes_while_it_is_open_is_an_error(
    server: RangeServer, sshd: SSHDaemon, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    file = write(server.folder / "a.h5")
    for address in (f"{server.url}/a.h5", sshd.address(file)):
        source = opened(remote(address))
        write(file, bytes(len(CONTENT)), age=100)
        with pytest.raises(RemoteChangedError, match="was changed on the server"):
            source.read_ranges([(500_000, 10)])
        source.close()
        write(file)


def test_server_without_ranges_gets_a_sentence(server: RangeServer) -> None:
    write(server.folder / "a.h5")
    write(server.folder / "index.json", b"{}")
    server.has_ranges = False
    with pytest.raises(RemoteError, match="does not send parts of files"):
        RemoteSource(remote(f"{server.url}/a.h5"))
    assert remote(f"{server.url}/index.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (206, {"Content-Range": "bytes 7-70/2097152"}, bytes(64), "other parts"),
        (206, {"Content-Range": "bytes 0-9/0"}, bytes(10), "other parts"),
        (206, {}, bytes(64), "other parts"),
        (206, {"Content-Range": "bytes 0-63/99", "Content-Encoding": "gzip"}, bytes(64), "compressed"),
        (200, {"Content-Length": "99999999999"}, b"", "does not send parts"),
        (200, {"Content-Length": "99999999999999999999999"}, b"", "as an HTTP server does"),
        (403, {}, b"", "HTTP 403"),
        (418, {}, b"", "HTTP 418"),
        (302, {"Location": "file:///etc/passwd"}, b"", "redirects to file://"),
        (302, {"Location": "http://127.0.0.2:1/"}, b"", "redirects to 127.0.0.2"),
        (302, {"Location": "http://127.0.0.1:1/"}, b"", "redirects to port 1"),
        (302, {"Location": "http://[::1]/"}, b"", "redirects to ::1"),
        (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b"", "redirects to 169.254"),
        (302, {"Location": "http://localhost/"}, b"", "redirects to localhost"),
        (302, {"Location": "/again"}, b"", "more than 5 times"),
    ],
)
def test_hostile_answer_ends_with_a_sentence(
    server: RangeServer, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> bool:
        server.reply(handler, status, body, headers)
        return True

    server.answer = answer
    with pytest.raises(RemoteError, match=words):
        RemoteSource(remote(f"{server.url}/a.h5"))


def test_redirect_on_the_same_server_is_followed(
    server: RangeServer, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    write(server.folder / "a.h5")

    def answer(handler: BaseHTTPRequestHandler) -> bool:
        if handler.path == "/latest":
            server.reply(handler, 302, b"", {"Location": "/a.h5"})
        return handler.path == "/latest"

    server.answer = answer
    source = opened(remote(f"{server.url}/latest"))
    server.reset()
    assert source.read_ranges([(500_000, 4)]) == [CONTENT[500_000:500_004]]
    assert [path for path, _ in server.requests] == ["/a.h5"]  # not by the redirect again


def test_answer_longer_than_asked_for_is_not_read(
    server: RangeServer, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    write(server.folder / "a.h5")
    source = opened(remote(f"{server.url}/a.h5"))

    def answer(handler: BaseHTTPRequestHandler) -> bool:
        first = handler.headers["Range"].removeprefix("bytes=").split("-")[0]
        headers = {"Content-Range": f"bytes {first}-2097151/2097152", "ETag": server.tag(server.folder / "a.h5")}
        server.reply(handler, 206, bytes(64), {**headers, "Content-Length": str(1 << 40)})
        return True

    server.answer = answer
    with pytest.raises(RemoteError, match="other parts"):
        source.read_ranges([(500_000, 4)])


def test_server_that_fails_for_a_moment_is_asked_again(
    server: RangeServer, no_pause: None, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    write(server.folder / "a.h5")
    source = opened(remote(f"{server.url}/a.h5"))
    left = [503, 500]

    def answer(handler: BaseHTTPRequestHandler) -> bool:
        if left:
            server.reply(handler, left.pop(), b"")
            return True
        return False

    server.answer = answer
    assert source.read_ranges([(500_000, 4)]) == [CONTENT[500_000:500_004]]
    left[:] = [503] * 9
    with pytest.raises(ConnectionLostError, match=r"does not answer \(HTTP 503, 3 tries\)"):
        source.read_ranges([(900_000, 4)])
    assert len(left) == 6


def test_missing_file_does_not_exist(server: RangeServer, sshd: SSHDaemon) -> None:
    for address in (f"{server.url}/no.h5", sshd.address(server.folder / "no.h5")):
        assert not remote(address).exists()
        with pytest.raises(FileNotFoundError):
            RemoteSource(remote(address))


# ssh


def test_ssh_reads_ranges_and_lists_folders(
    sshd: SSHDaemon, tmp_path: Path, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    file = write(tmp_path / "a b%.h5")
    (tmp_path / "inner").mkdir()
    (tmp_path / "link.h5").symlink_to("/etc/hostname")
    source = opened(remote(sshd.address(tmp_path)) / "a b%.h5")
    assert source.read_ranges([(0, 8), (1_500_000, 300_000)]) == [CONTENT[:8], CONTENT[1_500_000:1_800_000]]
    source.close()
    entries = remote(sshd.address(tmp_path)).list_folder()
    assert {
        name: (entry.is_file, entry.is_folder, entry.is_link) for name, entry in entries.items() if name != "cache"
    } == {
        "a b%.h5": (True, False, False),
        "inner": (False, True, False),
        "link.h5": (False, False, True),
    }
    assert remote(sshd.address(tmp_path / "link.h5")).resolve().path == str(Path("/etc/hostname").resolve())
    assert remote(sshd.address(tmp_path)).is_dir()
    assert not remote(sshd.address(file)).is_dir()


def test_lost_ssh_connection_is_made_again(
    sshd: SSHDaemon, tmp_path: Path, no_pause: None, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    file = write(tmp_path / "a.h5")
    with closing(Relay(sshd.port)) as relay:
        sshd.trust(relay.port)
        source = opened(remote(sshd.address(file, relay.port)))
        second = opened(remote(sshd.address(file, relay.port)))
        relay.cut()
        assert source.read_ranges([(500_000, 4)]) == [CONTENT[500_000:500_004]]
        assert second.read_ranges([(700_000, 4)]) == [CONTENT[700_000:700_004]]
        source.close()
        second.close()
        third = opened(remote(sshd.address(write(tmp_path / "b.h5"), relay.port)))
    with pytest.raises(ConnectionLostError, match="3 tries"):
        third.read_ranges([(900_000, 4)])


def test_unknown_host_key_is_refused_with_what_to_do(sshd: SSHDaemon, tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    with (
        closing(Relay(sshd.port)) as relay,
        pytest.raises(RemoteError, match=rf"does not know the host key .*SHA256:.*“ssh -p {relay.port} ") as error,
    ):
        RemoteSource(remote(sshd.address(tmp_path / "a.h5", relay.port)))
    assert not isinstance(error.value, ConnectionLostError)


def test_changed_host_key_is_refused_as_such(sshd: SSHDaemon, tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    other_key = (sshd.home / ".ssh/id_ed25519.pub").read_text().split()[:2]
    with closing(Relay(sshd.port)) as relay:
        with (sshd.home / ".ssh/known_hosts").open("a") as file:
            file.write(f"[127.0.0.1]:{relay.port} {' '.join(other_key)}\n")
        with pytest.raises(RemoteError, match="is not the one that ssh knows"):
            RemoteSource(remote(sshd.address(tmp_path / "a.h5", relay.port)))


def test_login_without_an_accepted_key_is_refused_with_what_to_do(
    sshd: SSHDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.ssh").mkdir(parents=True)
    (tmp_path / "home/.ssh/known_hosts").write_bytes((sshd.home / ".ssh/known_hosts").read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with closing(Relay(sshd.port)) as relay:  # another port, so that the open connection is not used
        (tmp_path / "home/.ssh/known_hosts").write_text(f"[127.0.0.1]:{relay.port} {' '.join(sshd.host_key)}\n")
        with pytest.raises(RemoteError, match="none of your ssh keys is accepted"):
            remote(sshd.address(tmp_path, relay.port)).exists()


def test_pipe_on_the_server_is_not_opened(
    sshd: SSHDaemon, tmp_path: Path, opened: Callable[[RemotePath], RemoteSource]
) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(RemoteError, match="not a regular file"):
        RemoteSource(remote(sshd.address(tmp_path / "pipe.h5")))
