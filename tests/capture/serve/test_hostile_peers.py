"""What peers of the policy server may send and ask, and what they are told."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from typing import Any

import msgpack
import numpy as np
import pytest
from policy_server import HeldPolicy, RawClient, RunningServer, make_client_observation, toy_server
from toy_policy import ToyPolicy
from websockets.exceptions import ConnectionClosed, InvalidStatus

from capture.serve import server as server_module
from capture.serve.wire_format import pack

MALFORMED: list[tuple[bytes | str, str]] = [
    ("text", "messages are binary msgpack"),
    (b"", "no msgpack of openpi's clients"),
    (b"\xc1\x00", "no msgpack of openpi's clients"),
    (b"\x91" * 2000, "no msgpack of openpi's clients"),
    (pack({}), "has no picture"),
    (msgpack.packb([1, 2]), "no map of an observation"),
    (msgpack.packb({b"__ndarray__": True, b"data": b"x", b"dtype": "|O", b"shape": [1]}), "has the type '|O'"),
    (pack({"pi0-capture": {"shutdown": True}}), "unknown key 'shutdown'"),
    (pack(make_client_observation(**{"observation/joint_position": np.array([np.nan, 0, 0])})), "finite"),
]


def test_malformed_messages_get_a_sentence_and_the_connection_stays(
    plain_server: RunningServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ToyPolicy, "to_robot", lambda policy, actions, state: actions[:, :2] + 0 * state[0])
    client = RawClient(plain_server)
    for message, sentence in MALFORMED:
        answer = client.send(message)
        assert isinstance(answer, str), message[:50]
        assert sentence in answer
        assert "\n" not in answer
    assert client.infer()["actions"].shape == (5, 2)
    client.close()


def test_client_without_a_usable_message_is_disconnected(
    plain_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "ERRORS_IN_A_ROW", 3)
    client = RawClient(plain_server)
    with pytest.raises(ConnectionClosed) as closed:
        for _ in range(4):
            client.send("again")
    assert closed.value.rcvd.reason == "3 messages in a row could not be answered"
    assert len([sentence for sentence in plain_server.lines.sentences if "binary msgpack" in sentence]) == 1
    assert RawClient(plain_server).infer()["actions"].shape == (5, 2)


def test_oversized_or_fragmented_message_ends_only_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_MESSAGE_BYTES", 200_000)
    monkeypatch.setattr(server_module, "MAX_FRAGMENTS", 10)
    with toy_server(None) as server:
        client = RawClient(server)
        with pytest.raises(ConnectionClosed) as closed:
            client.send(bytes(200_001))
        assert closed.value.rcvd.code == 1009
        client = RawClient(server)
        with pytest.raises(ConnectionClosed) as closed:
            client.send(iter([b"x"] * 100))
        assert closed.value.rcvd.reason == "a message has more than 10 parts"
        assert RawClient(server).infer()["actions"].shape == (5, 2)
        reasons = [sentence.partition(": ")[2] for sentence in server.lines.sentences if "connected" not in sentence]
        assert reasons[0].startswith("the connection was closed: ")
        assert "200001" in reasons[0]
        assert reasons[1] == "the connection was closed: a message has more than 10 parts"


def test_garbage_before_the_handshake_disturbs_no_other_client(plain_server: RunningServer) -> None:
    for garbage in (b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n", b"\x16\x03\x01" + bytes(200)):
        with socket.create_connection(("127.0.0.1", plain_server.port)) as raw:
            raw.sendall(garbage)
    assert RawClient(plain_server).infer()["actions"].shape == (5, 2)


def test_health_is_answered_while_the_policy_runs_and_without_a_key() -> None:
    policy = HeldPolicy()
    with toy_server(None, policy, key="secret") as server:
        client = RawClient(server, additional_headers={"Authorization": "Api-Key secret"})
        client.connection.send(pack(make_client_observation()))
        assert policy.entered.wait(60)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=10) as answer:
            assert (answer.status, answer.read()) == (200, b"OK\n")
        policy.release()
        client.connection.recv()
        client.close()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Api-Key wrong"}, {"Authorization": "Bearer secret"}])
def test_client_without_the_key_is_refused(headers: dict[str, str]) -> None:
    with toy_server(None, key="secret") as server:
        with pytest.raises(InvalidStatus) as refusal:
            RawClient(server, additional_headers=headers)
        assert refusal.value.response.status_code == 401
        assert b"a key is needed: Authorization: Api-Key KEY" in refusal.value.response.body
        assert any("refused 127.0.0.1: a key is needed" in sentence for sentence in server.lines.sentences)


def test_page_of_a_browser_is_refused(plain_server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        RawClient(plain_server, origin="http://evil.example")
    assert refusal.value.response.status_code == 403


def test_further_clients_than_the_limit_are_refused(
    plain_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CLIENTS", 2)
    clients = [RawClient(plain_server), RawClient(plain_server)]
    with pytest.raises(InvalidStatus) as refusal:
        RawClient(plain_server)
    assert refusal.value.response.status_code == 503
    for client in clients:
        client.close()
