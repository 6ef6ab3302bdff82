"""The policy server: connections, messages and answers, as openpi's clients expect them.

On connecting, a client gets the server's metadata. Each message is an observation, each answer the actions with their
times, or a text that says what was wrong. One thread runs the policy, so that calls follow each other; the event loop
stays free, and answers pings and `/healthz` meanwhile. What was recorded is handed over once the answer is sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from capture.errors import UserError
from capture.serve.access import HEADER, explain_port, find_refusal
from capture.serve.wire_format import MAX_MESSAGE_BYTES, pack

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request as HttpRequest
    from websockets.http11 import Response

    from capture.serve.client_session import CallRecord, ClientSession

MAX_CLIENTS: Final = 32
MAX_FRAGMENTS: Final = 4_096
"""Parts of one message; openpi's clients send one."""
MESSAGE_SECONDS: Final = 60.0
"""How long a message may take to arrive once it has begun."""
PING_SECONDS: Final = 20.0
PONG_SECONDS: Final = 300.0
"""Time until a client that answers no ping is given up: a simulator can keep a Python client busy for minutes."""
ERRORS_IN_A_ROW: Final = 100
"""Messages without an answer after which a connection is closed."""
RATE_SECONDS: Final = 10.0
"""Span over which the rate of calls is counted."""


@dataclass
class ServerCounts:
    """What the server did so far; for the event loop's thread."""

    clients: int = 0
    """Connections that are open."""
    calls: int = 0
    errors: int = 0
    """Messages that were answered with a text."""
    recent: deque[tuple[float, float]] = field(default_factory=deque)
    """When each of the last calls was answered, and how long it took in seconds."""

    def add_call(self, seconds: float) -> None:
        """Count a call that is answered now."""
        self.calls += 1
        self.recent.append((time.monotonic(), seconds))

    def rate(self) -> tuple[float, float]:
        """Return calls a second and the mean seconds of a call, of the last `RATE_SECONDS`; 0 without calls."""
        now = time.monotonic()
        while self.recent and self.recent[0][0] < now - RATE_SECONDS:
            self.recent.popleft()
        if not self.recent:
            return 0.0, 0.0
        span = max(now - self.recent[0][0], 1.0)
        return len(self.recent) / span, sum(seconds for _, seconds in self.recent) / len(self.recent)


class _UnusablePeerError(Exception):
    """A connection is to be closed, for the reason in this sentence."""


class PolicyServer:
    """Serves clients until `stop` is called.

    `open_session`: makes the session of a client, given its name. `key`: what clients have to send; None lets in
    whoever reaches the address. `episode_seconds`: silence that ends an episode. `log`: called with lines for the
    user.
    """

    def __init__(
        self,
        open_session: Callable[[str], ClientSession],
        metadata: dict[str, Any],
        *,
        key: str | None,
        episode_seconds: float,
        log: Callable[[str], None],
    ) -> None:
        self._open_session, self._metadata = open_session, pack(metadata)
        self._key, self._episode_seconds, self._log_line = key, episode_seconds, log
        self.counts = ServerCounts()
        self._policy_thread = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="read-message")
        self._number = 0
        self._working = 0
        """Messages that are being answered."""
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def stop(self) -> None:
        """End `serve` once the calls that run are answered."""
        self._stop.set()

    async def serve(self, host: str, port: int, started: Callable[[int], None]) -> None:
        """Accept clients until `stop`; `started` is called with the port. Raises UserError where it cannot listen."""
        from websockets.asyncio.server import serve

        logger = logging.getLogger("capture.serve.connections")  # what peers do wrong is no warning for the user
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        try:
            server = await serve(
                self._handle, host, port, process_request=self._screen, logger=logger, compression=None,
                max_size=MAX_MESSAGE_BYTES, max_queue=1, ping_interval=PING_SECONDS, ping_timeout=PONG_SECONDS,
                close_timeout=2,
            )  # fmt: skip
        except OSError as error:
            raise explain_port(host, port, error) from None
        try:
            await self._run(server, started)
        finally:
            self._readers.shutdown(wait=False, cancel_futures=True)
            self._policy_thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self, server: Server, started: Callable[[int], None]) -> None:
        async with server:
            started(server.sockets[0].getsockname()[1])
            await self._stop.wait()
            await self._idle.wait()  # calls that run are answered

    def _screen(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Answer a request that is to get no connection; return None to accept it."""
        if request.path == "/healthz":
            return connection.respond(200, "OK\n")
        if self._stop.is_set():
            return connection.respond(503, "the server ends\n")
        if self.counts.clients >= MAX_CLIENTS:
            return connection.respond(503, f"the server has {MAX_CLIENTS} clients already\n")
        refusal = find_refusal(request.headers.get_all("Origin"), request.headers.get_all(HEADER), self._key)
        if refusal is None:
            return None
        self._log_line(f"refused {_address(connection)}: {refusal[1].strip()}")
        return connection.respond(*refusal)

    async def _handle(self, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        self._number += 1
        self.counts.clients += 1
        name = f"client {self._number} at {_address(connection)}"
        session = self._open_session(name)
        self._log_line(f"{name} connected")
        reason = "the client disconnected"
        try:
            await connection.send(self._metadata)
            await self._answer_all(connection, session)
        except ConnectionClosed as closed:
            if closed.sent is not None and not closed.rcvd_then_sent:  # this side closed it
                closing = f"the connection was closed: {closed.sent.reason or closed.sent.code}"
                reason = "the server ended" if self._stop.is_set() else closing
        except _UnusablePeerError as error:
            reason = f"the connection was closed: {error}"
            await connection.close(1008, str(error))
        finally:
            self.counts.clients -= 1
            session.close(reason)
            self._log_line(f"{name}: {reason}")

    async def _answer_all(self, connection: ServerConnection, session: ClientSession) -> None:
        previous: float | None = None
        errors = 0
        while True:
            message = await self._receive(connection, session)
            if message is None:
                continue
            start = time.perf_counter()
            self._begin()
            try:
                answer, record = await self._answer(message, session)
                if isinstance(answer, str):
                    errors += 1
                    self._report(session, answer, errors)
                    await connection.send(answer)
                    if errors >= ERRORS_IN_A_ROW:
                        raise _UnusablePeerError(f"{errors} messages in a row could not be answered")
                    continue
                errors = 0
                timing = {"infer_ms": (time.perf_counter() - start) * 1000}
                if previous is not None:
                    timing["prev_total_ms"] = previous * 1000
                await connection.send(pack({**answer, "server_timing": timing}))
                previous = time.perf_counter() - start
                if "actions" in answer:
                    self.counts.add_call(previous)
                if record is not None:
                    await asyncio.get_running_loop().run_in_executor(self._policy_thread, record.store)
            finally:
                self._end()

    async def _receive(self, connection: ServerConnection, session: ClientSession) -> bytes | str | None:
        """Return the next message; None after a silence that ended the episode."""
        parts: list[Any] = []
        fragments = connection.recv_streaming()
        silence = self._episode_seconds if session.is_in_episode else None
        try:
            parts.append(await asyncio.wait_for(anext(fragments), silence))
        except TimeoutError:
            session.end_episode(f"the client was silent for {self._episode_seconds:g} s")
            return None
        try:
            async with asyncio.timeout(MESSAGE_SECONDS):
                async for part in fragments:
                    parts.append(part)
                    if len(parts) > MAX_FRAGMENTS:
                        raise _UnusablePeerError(f"a message has more than {MAX_FRAGMENTS} parts")
        except TimeoutError:
            raise _UnusablePeerError(f"a message did not arrive within {MESSAGE_SECONDS:g} s") from None
        return parts[0] if len(parts) == 1 else ("" if isinstance(parts[0], str) else b"").join(parts)

    async def _answer(
        self, message: bytes | str, session: ClientSession
    ) -> tuple[dict[str, Any] | str, CallRecord | None]:
        """Return the answer of a message, or a sentence where there is none."""
        loop = asyncio.get_running_loop()
        if isinstance(message, str):
            return "messages are binary msgpack, as openpi's clients send them, and this one is text", None
        try:
            request = await loop.run_in_executor(self._readers, session.read, message)
            return await loop.run_in_executor(self._policy_thread, session.call, request)
        except UserError as error:
            return str(error), None
        except Exception as error:  # one call must not end the server
            logging.getLogger(__name__).exception("a call failed")
            return f"the call failed in the server ({type(error).__name__}: {str(error)[:200]})", None

    def _report(self, session: ClientSession, sentence: str, errors: int) -> None:
        self.counts.errors += 1
        if errors == 1:  # a client that repeats its mistake is not to fill the terminal
            self._log_line(f"{session.name}: {sentence}")

    def _begin(self) -> None:
        self._working += 1
        self._idle.clear()

    def _end(self) -> None:
        self._working -= 1
        if not self._working:
            self._idle.set()


def _address(connection: ServerConnection) -> str:
    address = connection.remote_address
    return str(address[0]) if isinstance(address, tuple) and address else "an unknown address"
