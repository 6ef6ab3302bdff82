"""Real servers for tests of remote files: HTTP with ranges that counts, sshd on the loopback, a relay that is slow."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class RangeServer:
    """Serves the files of a folder over HTTP in ranges, and counts requests and bytes of bodies.

    With `certificate`, a PEM file with the private key and the certificate, it speaks TLS.
    """

    def __init__(self, folder: Path, certificate: Path | None = None) -> None:
        self.folder = folder
        self.scheme = "http" if certificate is None else "https"
        self.requests: list[tuple[str, str]] = []
        """Path and Range header of each request."""
        self.headers: list[dict[str, str]] = []
        self.sent = 0
        self.has_ranges = True
        self.tag: Callable[[Path], str] = lambda file: f'"{file.stat().st_mtime_ns:x}-{file.stat().st_size:x}"'
        self.answer: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
        """Called first; returns whether it has answered itself."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._get(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def reset(self) -> None:
        self.requests, self.headers, self.sent = [], [], 0

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        range_header = handler.headers.get("Range", "")
        self.requests.append((handler.path, range_header))
        self.headers.append(dict(handler.headers))
        if self.answer(handler):
            return
        file = self.folder / handler.path.partition("?")[0].lstrip("/")
        if not file.is_file():
            self.reply(handler, 404, b"")
            return
        size, tag = file.stat().st_size, self.tag(file)
        if handler.headers.get("If-Match", tag) != tag:
            self.reply(handler, 412, b"")
            return
        extra = {"ETag": tag} if tag else {}
        if not range_header or not self.has_ranges:
            self.reply(handler, 200, file.read_bytes(), extra)
            return
        first, last = (int(part) for part in range_header.removeprefix("bytes=").split("-"))
        if first >= size:
            self.reply(handler, 416, b"", {"Content-Range": f"bytes */{size}"})
            return
        last = min(last, size - 1)
        with file.open("rb") as stream:
            stream.seek(first)
            body = stream.read(last - first + 1)
        self.reply(handler, 206, body, {**extra, "Content-Range": f"bytes {first}-{last}/{size}"})

    def reply(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.sent += len(body)  # before the client can have them
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Relay:
    """Passes TCP connections on to a port, each byte `latency` seconds later in each direction, at a limited rate."""

    def __init__(self, port: int, latency: float = 0.0, rate: float = 0.0) -> None:
        self.target, self.latency, self.rate = port, latency, rate
        self.received = 0
        """Bytes that came from the target."""
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._threads.append(threading.current_thread())
        target = socket.create_connection(("127.0.0.1", self.target))
        self._open += [client, target]
        for connection in (client, target):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        backward = threading.Thread(target=self._pass_on, args=(client, target, False), daemon=True)
        backward.start()
        with target:
            self._pass_on(target, client, True)
            backward.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        pending: list[tuple[float, bytes]] = []
        ready = threading.Condition()

        def deliver() -> None:
            free = 0.0
            while True:
                with ready:
                    while not pending:
                        ready.wait()
                    due, data = pending.pop(0)
                if self.rate and data:
                    free = max(free, due) + len(data) / self.rate
                    due = free
                time.sleep(max(0.0, due - time.monotonic()))
                with contextlib.suppress(OSError):
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)

        threading.Thread(target=deliver, daemon=True).start()
        while True:
            try:
                data = source.recv(16384)
            except OSError:
                data = b""
            if is_answer:
                self.received += len(data)
            with ready:
                pending.append((time.monotonic() + self.latency, data))
                ready.notify()
            if not data:
                return

    def cut(self) -> None:
        """Break all connections that are open now."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open = []
        for thread in self._threads:
            thread.join(5)

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()


SSHD = "PI0_SSHD"
"""Environment variable: the sshd that tests start; /usr/sbin/sshd where it is not set."""


class SSHDaemon:
    """A real sshd on a loopback port with keys of its own; `home` is what the client's ssh configuration is read from.

    `client_key`: the public key that may log in, in place of one made for this server.
    """

    def __init__(self, folder: Path, client_key: Path | None = None) -> None:
        program = os.environ.get(SSHD) or shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        keygen = shutil.which("ssh-keygen")
        if not program or not keygen or os.name == "nt":
            pytest.skip(f"needs OpenSSH's sshd and ssh-keygen (openssh-server), or {SSHD}")
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        for name in ("host", "home/.ssh/id_ed25519"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a privileged sshd separates itself
        config = folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {client_key or self.home / '.ssh/id_ed25519.pub'}\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\nPermitRootLogin yes\n"
            "MaxStartups 100\n"
        )
        self.host_key = (folder / "host.pub").read_text().split()[:2]
        self._log = (folder / "sshd.log").open("wb")
        self._process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stderr=self._log)
        self.user = os.environ.get("USER") or __import__("getpass").getuser()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                self.trust(self.port)
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self.close()
        pytest.skip(f"{program} does not start here: {(folder / 'sshd.log').read_text()[-300:]}")

    def trust(self, port: int) -> None:
        """Let the client know the host key at a port, also one of a relay."""
        with (self.home / ".ssh/known_hosts").open("a") as file:
            file.write(f"[127.0.0.1]:{port} {' '.join(self.host_key)}\n")

    def address(self, path: Path | str, port: int | None = None) -> str:
        return f"ssh://{self.user}@127.0.0.1:{port or self.port}{path}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()


@contextlib.contextmanager
def closing(server: Any) -> Iterator[Any]:
    """Close a server at the end."""
    try:
        yield server
    finally:
        server.close()
