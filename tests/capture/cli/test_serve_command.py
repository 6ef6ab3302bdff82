"""`pi0-capture serve` as a user starts and ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

import h5py
import pytest
from paths import ROOT
from policy_server import make_client_observation
from preloaded import PreloadedProcess
from websockets.sync.client import connect

from capture.__main__ import main
from capture.cli.serve import choose_exit_code
from capture.rollouts.writer import RolloutCounts
from capture.serve.access import is_loopback
from capture.serve.wire_format import pack, unpack


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "no folder was named for the recordings; add -o FOLDER, such as -o runs/, or --no-recording"),
        (["-o", "runs", "--no-recording"], "--no-recording writes nothing; leave -o out"),
        (
            ["-o", "runs", "--host", "0.0.0.0"],
            "whoever reaches 0.0.0.0 could move the robot and fill the disk; give --api-key",
        ),
        (["-o", "runs", "--host", "::"], "whoever reaches :: could move the robot"),
        (["-o", "runs", "--host", "nowhere.invalid"], "--host 'nowhere.invalid' is no address of this machine"),
        (["-o", "runs", "--api-key", ""], "the API key is empty or no plain text"),
        (["-o", "runs", "--api-key", "a\nb"], "the API key is empty or no plain text"),
        (["-o", "runs", "--api-key", "a", "--allow-anyone"], "--allow-anyone and an API key contradict each other"),
        (["-o", "runs", "--prompt", " "], "--prompt is empty"),
    ],
)
def test_unusable_options_get_a_sentence(
    options: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--demo", *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if sentence in line], lines
    assert len(lines) == 1
    assert not list(tmp_path.iterdir())


def test_addresses_of_this_machine_alone_need_no_key() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3")] == [True] * 4
    assert not is_loopback("0.0.0.0")


def test_exit_code_says_whether_an_episode_could_not_be_recorded() -> None:
    assert choose_exit_code(None) == 0
    assert choose_exit_code(RolloutCounts(calls=3, recorded=2, dropped=1, episodes=1)) == 0
    assert choose_exit_code(RolloutCounts(calls=3, recorded=2, dropped=1, failures=("no space left on device",))) == 1


def test_missing_package_names_the_extra(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    assert main(["serve", "--demo", "-o", str(tmp_path / "runs")]) == 2
    printed = capsys.readouterr().err
    assert "the package msgpack is missing; run pip install 'pi0-attention[capture,serve]'" in printed


def test_server_process_serves_records_and_ends_on_sigterm(checkpoint: Path, tmp_path: Path) -> None:
    command = [
        *("-m", "capture", "serve", "--checkpoint", str(checkpoint), "--device", "cpu"),
        *("--sizes", str(checkpoint / "sizes.json"), "--denoise-steps", "2", "--dtype", "float32", "--port", "0"),
        *("-o", "runs", "--steps", "1", "--api-key", "secret", "-v"),
    ]
    server = PreloadedProcess(command, tmp_path, {**os.environ, "PYTHONPATH": str(ROOT)})
    lines = []
    try:
        for line in server.stderr:
            lines.append(line)
            if match := re.search(
                r"serving pi05_small on (ws://127\.0\.0\.1:\d+), recording to runs; Ctrl-C ends it", line
            ):
                break
        else:
            pytest.fail("".join(lines))
        with connect(match[1], additional_headers={"Authorization": "Api-Key secret"}) as client:
            unpack(client.recv())
            client.send(pack(make_client_observation()))
            assert unpack(client.recv())["actions"].shape == (6, 4)
            server.send_signal(signal.SIGTERM)
            output, errors = server.communicate(timeout=60)
    finally:
        server.send_signal(signal.SIGKILL)
    assert server.returncode == 0, errors
    assert output.splitlines() == [
        "answered 1 call; 1 of 1 calls recorded in 1 episodes",
        "look at them with: pi0-viewer runs",
    ]
    assert "decided exterior camera: exterior_image_1_left" in errors
    assert not [
        line for line in (*lines, *errors.splitlines()) if "Traceback" in line or line.strip() == "pi0-capture:"
    ]
    with h5py.File(tmp_path / "runs" / "episode_000000.h5") as file:
        assert file.attrs["complete"]
        assert json.loads(file.attrs["rollout"])["ended"] == "the server ended"


def test_occupied_port_is_reported_before_the_policy_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert main(["serve", "--demo", "--port", str(port), "-o", str(tmp_path / "runs")]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        f"pi0-capture: cannot listen on 127.0.0.1 port {port} (Address already in use); choose another --port"
    ]
    assert not list(tmp_path.iterdir())
