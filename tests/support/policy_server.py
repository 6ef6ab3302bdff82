"""A policy server in a thread of the test, and programs of openpi's real client in an environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_policy import ToyPolicy, ToySpec
from websockets.sync.client import ClientConnection, connect

from capture.datasets.base import SourceOptions
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.provenance import Decision
from capture.rollouts.writer import RolloutWriter
from capture.serve.service import PolicyService, ServeOptions, describe_run
from capture.serve.wire_format import pack, unpack

CLIENT_VARIABLE = "PI0_OPENPI_CLIENT"
"""Environment variable: the Python of an environment with openpi-client, which wants numpy below 2."""
HOW = (
    f"set {CLIENT_VARIABLE} to a Python with openpi's client: python3.11 -m venv client && "
    "client/bin/pip install openpi-client==0.1.2 typing_extensions"
)


TOY_SETUP = Setup(ToySpec(), RunOptions(torch.device("cpu"), torch.float32, store="float32"), "none")
TOY_SOURCE = SourceOptions(
    ("front", "top", "side"),
    5,
    camera_overrides={"front": "exterior_image_1_left", "top": "wrist_image_left", "side": "none"},
)


@dataclass
class Lines:
    """Record of the server's messages and decisions."""

    sentences: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def log(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def decided(self, decision: Decision) -> None:
        self.decisions.append(decision)


@dataclass
class RunningServer:
    """A server that runs in a thread until `stop`."""

    service: PolicyService
    address: str
    lines: Lines
    writer: RolloutWriter | None
    _loop: asyncio.AbstractEventLoop
    _thread: threading.Thread

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self.service.stop)
        self._thread.join(60)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def running_server(
    setup: Setup, policy: Any, folder: Path | None, *, every: int = 1, max_pending: int = 100, **options: Any
) -> Iterator[RunningServer]:
    """Serve a policy on a free port; `options` of ServeOptions. Recordings are whole once the block has ended."""
    lines = Lines()
    run = describe_run(setup, every)
    writer = None if folder is None else RolloutWriter(folder, run, max_pending=max_pending, log=lines.log)
    options = {"source": setup.policy.source_options, "port": 0, **options}
    started = threading.Event()
    started_objects: list[Any] = []

    def serve() -> None:
        async def run_service() -> None:
            started_objects.append(PolicyService(setup, policy, writer, ServeOptions(**options), lines))
            started_objects.append(asyncio.get_running_loop())
            await started_objects[0].serve(lambda address: (started_objects.append(address), started.set()))

        try:
            asyncio.run(run_service())
        except BaseException as error:
            started_objects.append(error)  # raised in the test's thread
        finally:
            started.set()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    started.wait(60)
    if isinstance(started_objects[-1], BaseException):
        raise started_objects[-1]
    server = RunningServer(started_objects[0], started_objects[2], lines, writer, started_objects[1], thread)
    try:
        yield server
    finally:
        server.stop()
        if writer is not None:
            writer.close("the server ended")


@contextlib.contextmanager
def toy_server(folder: Path | None, policy: Any = None, **options: Any) -> Iterator[RunningServer]:
    """Serve the toy policy, whose calls take milliseconds, to DROID's clients."""
    with running_server(TOY_SETUP, policy or ToyPolicy(), folder, **{"source": TOY_SOURCE, **options}) as server:
        yield server


class HeldPolicy(ToyPolicy):
    """The toy policy, whose calls wait for `release`."""

    def __init__(self) -> None:
        self.entered, self._released = threading.Event(), threading.Event()

    def _path(self, fed: Any, after_step: Any) -> Any:
        self.entered.set()
        assert self._released.wait(60)
        return super()._path(fed, after_step)

    def release(self) -> None:
        self._released.set()


def client_python() -> str:
    """The Python that has openpi's client; the test is skipped where there is none."""
    found = os.environ.get(CLIENT_VARIABLE, "")
    if not found:
        pytest.skip(f"no openpi client here: {HOW}")
    return found


PRELUDE = """
import json, sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

port, given = int(sys.argv[1]), json.loads(sys.argv[2])
draw = np.random.default_rng(given.get("seed", 0))

def observe(prompt="pick up the red block"):
    return {
        "observation/exterior_image_1_left": draw.integers(0, 255, (90, 160, 3), dtype=np.uint8),
        "observation/wrist_image_left": draw.integers(0, 255, (96, 128, 3), dtype=np.uint8),
        "observation/joint_position": np.array([0.1, -0.4, 2.0]), "observation/gripper_position": np.array([0.7]),
        "prompt": prompt,
    }

def fail(policy, observation):
    try:
        policy.infer(observation)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def connect():
    return WebsocketClientPolicy("127.0.0.1", port, api_key=given.get("key"))
"""


def start_client(port: int, program: str, **given: Any) -> subprocess.Popen[str]:
    """Start a program after `PRELUDE`; what it prints as its last line is the JSON that `finish_client` returns."""
    arguments = [client_python(), "-c", PRELUDE + program, str(port), json.dumps(given)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish_client(client: subprocess.Popen[str]) -> Any:
    output, errors = client.communicate(timeout=120)
    assert client.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def run_client(port: int, program: str, **given: Any) -> Any:
    return finish_client(start_client(port, program, **given))


def make_client_observation(seed: int = 0, prompt: str = "pick up the red block", **changed: Any) -> dict[str, Any]:
    """What the programs' `observe` returns, for raw clients."""
    draw = np.random.default_rng(seed)
    message = {
        "observation/exterior_image_1_left": draw.integers(0, 255, (90, 160, 3), dtype=np.uint8),
        "observation/wrist_image_left": draw.integers(0, 255, (96, 128, 3), dtype=np.uint8),
        "observation/joint_position": np.array([0.1, -0.4, 2.0]),
        "observation/gripper_position": np.array([0.7]),
        "prompt": prompt,
    }
    return {name: value for name, value in {**message, **changed}.items() if value is not None}


class RawClient:
    """A client that can send anything."""

    def __init__(self, server: RunningServer, **options: Any) -> None:
        opened = connect(server.address, max_size=None, compression=None, **options)
        self.connection: ClientConnection = opened.__enter__()  # `close`, or the end of the server, closes it
        self.metadata = unpack(self.connection.recv())

    def send(self, message: bytes | str) -> Any:
        self.connection.send(message)
        answer = self.connection.recv(timeout=60)
        return answer if isinstance(answer, str) else unpack(answer)

    def infer(self, **changed: Any) -> Any:
        return self.send(pack(make_client_observation(**changed)))

    def send_wishes(self, **wishes: Any) -> Any:
        return self.send(pack({"pi0-capture": wishes}))

    def close(self) -> None:
        self.connection.close()
