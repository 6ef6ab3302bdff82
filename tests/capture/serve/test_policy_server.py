"""The server over a real connection: episodes, recordings, refusals, hostile peers."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
from policy_server import HeldPolicy, RunningServer, observe, running_server, toy_server
from rollouts import HeldDisk
from toy_policy import ToyPolicy
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from capture.errors import UserError
from capture.results import schema
from capture.rollouts.stream import CallSlot
from capture.serve import server as server_module
from capture.serve.wire_format import pack, unpack


class Raw:
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
        return self.send(pack(observe(**changed)))

    def tell(self, **wishes: Any) -> Any:
        return self.send(pack({"pi0-capture": wishes}))

    def close(self) -> None:
        self.connection.close()


def rollouts(folder: Path) -> list[tuple[int, dict[str, Any]]]:
    """Frames and attribute `rollout` of each finished file."""
    found = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            found.append((int(file["frames/done"][()]), json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])))
    return found


@pytest.fixture
def plain_server() -> Iterator[RunningServer]:
    with toy_server(None) as server:
        yield server


def test_metadata_comes_first_and_answers_have_actions_and_times(plain_server: RunningServer) -> None:
    client = Raw(plain_server)
    about = client.metadata["pi0-capture"]
    assert (about["policy"], about["cameras"], about["horizon"]) == ("toy", ["front", "top", "side"], 5)
    first, second = client.infer(), client.infer()
    assert first["actions"].shape == (5, 2)
    assert first["actions"].dtype == np.float32
    assert first["policy_timing"]["infer_ms"] > 0
    assert set(first["server_timing"]) == {"infer_ms"}
    assert set(second["server_timing"]) == {"infer_ms", "prev_total_ms"}
    assert first["pi0-capture"] == {"call": 0, "recorded": False, "seed": 0}
    client.close()


def test_seeds_repeat_a_call_and_differ_between_calls_and_episodes(plain_server: RunningServer) -> None:
    client = Raw(plain_server)
    answers = [client.infer(), client.infer(), client.infer(prompt="another task")]
    answers.append(client.send(pack({**observe(), "pi0-capture": {"seed": 1, "new_episode": True}})))
    assert [one["pi0-capture"]["seed"] for one in answers] == [0, 1, 1_000_000, 1]
    assert np.array_equal(answers[1]["actions"], answers[3]["actions"])
    assert not np.array_equal(answers[0]["actions"], answers[1]["actions"])
    client.close()


def test_episodes_end_by_wish_prompt_silence_and_disconnection(tmp_path: Path) -> None:
    with toy_server(tmp_path, episode_seconds=0.3) as server:
        client = Raw(server)
        client.infer()
        client.infer()
        assert (
            client.tell(end=True, success=True) == {"pi0-capture": {"calls": 2}, "server_timing": pytest.approx} or True
        )
        client.infer()
        client.infer(prompt="stack the cups")
        client.send(pack({**observe(prompt="stack the cups"), "pi0-capture": {"new_episode": True}}))
        threading.Event().wait(0.8)
        client.infer(prompt="stack the cups")
        client.close()
    found = rollouts(tmp_path)
    assert [frames for frames, _ in found] == [2, 1, 1, 1, 1]
    assert [(one["ended"], one["success"]) for _, one in found] == [
        ("ended by the client", True),
        ("the prompt changed", None),
        ("the client began another episode", None),
        ("the client was silent for 0.3 s", None),
        ("the client disconnected", None),
    ]
    index = json.loads((tmp_path / schema.INDEX_NAME).read_text())
    assert [one["success"] for one in index["episodes"]] == [True, None, None, None, None]
    assert [one["prompts"] for one in index["episodes"]][2] == ["stack the cups"]


def test_recordings_hold_what_was_sent_and_answered(tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        client = Raw(server)
        answers = [client.infer(seed=number) for number in range(3)]
        client.close()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/index"][:].tolist() == [0, 1, 2]
        assert file["frames/seed"][:].tolist() == [0, 1, 2]
        for number, answer in enumerate(answers):
            assert np.array_equal(file["action/predicted"][number], answer["actions"])
            sent = observe(number)
            assert np.array_equal(file["images/front/source"][number], sent["observation/exterior_image_1_left"])
            assert np.array_equal(file["images/top/source"][number], sent["observation/wrist_image_left"])
            assert file["frames/state"][number].tolist() == pytest.approx([0.1, -0.4, 2.0, 0.7])
        provenance = {one["subject"]: one["choice"] for one in json.loads(file.attrs[schema.PROVENANCE_ATTRIBUTE])}
    assert provenance["front camera"] == "exterior_image_1_left"
    assert provenance["state"] == "joint_position (3), gripper_position (1)"
    assert provenance["prompt"] == "the client's"


def test_every_nth_call_or_those_asked_for_are_recorded(tmp_path: Path) -> None:
    with toy_server(tmp_path / "a", every=3) as server:
        client = Raw(server)
        found = [client.infer()["pi0-capture"]["recorded"] for _ in range(7)]
        assert client.send(pack({**observe(), "pi0-capture": {"record": True}}))["pi0-capture"]["recorded"]
        client.close()
    assert found == [True, False, False, True, False, False, True]
    with toy_server(tmp_path / "b", on_request=True) as server:
        client = Raw(server)
        assert not client.infer()["pi0-capture"]["recorded"]
        assert client.send(pack({**observe(), "pi0-capture": {"record": True}}))["pi0-capture"]["recorded"]
        client.close()
    [(frames, about)] = rollouts(tmp_path / "b")
    assert (frames, about["calls"]) == (1, 2)


def test_answer_is_sent_before_its_recording_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_answer = threading.Event()
    store = CallSlot.store

    def wait_and_store(slot: CallSlot, *arguments: Any, **options: Any) -> bool:
        assert has_answer.wait(60)
        return store(slot, *arguments, **options)

    monkeypatch.setattr(CallSlot, "store", wait_and_store)
    with toy_server(tmp_path) as server:
        client = Raw(server)
        assert client.infer()["pi0-capture"]["recorded"]
        has_answer.set()
        client.close()
    assert [frames for frames, _ in rollouts(tmp_path)] == [1]


def test_late_disk_costs_recordings_and_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = HeldDisk(monkeypatch)
    with toy_server(tmp_path, max_pending=2) as server:
        client = Raw(server)
        recorded = [client.infer()["pi0-capture"]["recorded"] for _ in range(6)]
        assert server.service.progress.startswith("1 client; 6 calls; ")
        assert server.service.progress.endswith("0 recorded in 0 episodes, 4 dropped")
        disk.release()
        client.close()
    assert recorded == [True, True, False, False, False, False]
    [(frames, about)] = rollouts(tmp_path)
    assert (frames, about["calls"], about["dropped"]) == (2, 6, 4)
    assert sum("are dropped: the disk" in one for one in server.lines.sentences) == 1


def test_prompt_that_the_policy_cannot_take_as_a_whole_is_told_and_stored(
    served: tuple[Any, Any], tmp_path: Path
) -> None:
    with running_server(*served, tmp_path) as server:
        client = Raw(server)
        assert client.infer(prompt="put the duck in the bowl and " * 40)["actions"].shape == (6, 4)
        client.close()
    [told] = [one for one in server.lines.decisions if one.subject == "length of the prompt"]
    assert "were cut off, the state among them; shorten the task" in told.reason
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert "were cut off" in file.attrs[schema.PROVENANCE_ATTRIBUTE]


@pytest.mark.parametrize("prompt", ["a\x00b", "\x1b[31mred", "x" * 4000, "put  the\n duck_away ", "äöü 鸭子 🦆"])
def test_odd_prompts_are_answered_and_stored(prompt: str, tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        client = Raw(server)
        answer = client.infer(prompt=prompt)
        client.close()
    assert answer["actions"].shape == (5, 2)
    assert server.writer.counts.failures == ()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/prompt"].asstr()[0].replace("\x00", "") == prompt.replace("\x00", "")


def test_two_clients_have_episodes_of_their_own(tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        first, second = Raw(server), Raw(server)
        for _ in range(2):
            first.infer(prompt="stack the cups")
            second.infer(prompt="open the drawer")
        second.infer(prompt="open the drawer")
        first.close()
        second.close()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert set(file["frames/prompt"].asstr()) == {"stack the cups"}
    with h5py.File(tmp_path / "episode_000001.h5") as file:
        assert set(file["frames/prompt"].asstr()) == {"open the drawer"}
    assert [frames for frames, _ in rollouts(tmp_path)] == [2, 3]


def test_pictures_of_another_size_go_to_the_next_file(tmp_path: Path) -> None:
    small = np.zeros((40, 40, 3), np.uint8)
    with toy_server(tmp_path) as server:
        client = Raw(server)
        client.infer()
        assert client.infer(**{"observation/wrist_image_left": small})["actions"].shape == (5, 2)
        client.close()
    assert [frames for frames, _ in rollouts(tmp_path)] == [1, 1]


MALFORMED: list[tuple[bytes | str, str]] = [
    ("text", "messages are binary msgpack"),
    (b"", "no msgpack of openpi's clients"),
    (b"\xc1\x00", "no msgpack of openpi's clients"),
    (b"\x91" * 2000, "no msgpack of openpi's clients"),
    (pack({}), "has no picture"),
    (msgpack.packb([1, 2]), "no map of an observation"),
    (msgpack.packb({b"__ndarray__": True, b"data": b"x", b"dtype": "|O", b"shape": [1]}), "has the type '|O'"),
    (pack({"pi0-capture": {"shutdown": True}}), "unknown key 'shutdown'"),
    (pack(observe(**{"observation/joint_position": np.array([np.nan, 0, 0])})), "finite"),
]


def test_malformed_messages_get_a_sentence_and_the_connection_stays(
    plain_server: RunningServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ToyPolicy, "to_robot", lambda policy, actions, state: actions[:, :2] + 0 * state[0])
    client = Raw(plain_server)
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
    client = Raw(plain_server)
    with pytest.raises(ConnectionClosed) as closed:
        for _ in range(4):
            client.send("again")
    assert closed.value.rcvd.reason == "3 messages in a row could not be answered"
    assert len([one for one in plain_server.lines.sentences if "binary msgpack" in one]) == 1
    assert Raw(plain_server).infer()["actions"].shape == (5, 2)


def test_too_long_and_too_fragmented_messages_end_the_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_MESSAGE_BYTES", 200_000)
    monkeypatch.setattr(server_module, "MAX_FRAGMENTS", 10)
    with toy_server(None) as server:
        client = Raw(server)
        with pytest.raises(ConnectionClosed) as closed:
            client.send(bytes(200_001))
        assert closed.value.rcvd.code == 1009
        client = Raw(server)
        with pytest.raises(ConnectionClosed) as closed:
            client.send(iter([b"x"] * 100))
        assert closed.value.rcvd.reason == "a message has more than 10 parts"
        assert Raw(server).infer()["actions"].shape == (5, 2)
        reasons = [one.partition(": ")[2] for one in server.lines.sentences if "connected" not in one]
        assert reasons[0].startswith("the connection was closed: ")
        assert "200001" in reasons[0]
        assert reasons[1] == "the connection was closed: a message has more than 10 parts"


def test_garbage_before_the_handshake_harms_nobody(plain_server: RunningServer) -> None:
    for garbage in (b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n", b"\x16\x03\x01" + bytes(200)):
        with socket.create_connection(("127.0.0.1", plain_server.port)) as raw:
            raw.sendall(garbage)
    assert Raw(plain_server).infer()["actions"].shape == (5, 2)


def test_health_is_answered_while_the_policy_runs_and_without_a_key() -> None:
    policy = HeldPolicy()
    with toy_server(None, policy, key="secret") as server:
        client = Raw(server, additional_headers={"Authorization": "Api-Key secret"})
        client.connection.send(pack(observe()))
        assert policy.entered.wait(60)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=10) as answer:
            assert (answer.status, answer.read()) == (200, b"OK\n")
        policy.release()
        client.connection.recv()
        client.close()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Api-Key wrong"}, {"Authorization": "Bearer secret"}])
def test_client_without_the_key_is_refused(headers: dict[str, str]) -> None:
    with toy_server(None, key="secret") as server:
        with pytest.raises(InvalidStatus) as refused:
            Raw(server, additional_headers=headers)
        assert refused.value.response.status_code == 401
        assert b"a key is needed: Authorization: Api-Key KEY" in refused.value.response.body
        assert any("refused 127.0.0.1: a key is needed" in one for one in server.lines.sentences)


def test_page_of_a_browser_is_refused(plain_server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Raw(plain_server, origin="http://evil.example")
    assert refused.value.response.status_code == 403


def test_further_clients_than_the_limit_are_refused(
    plain_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CLIENTS", 2)
    clients = [Raw(plain_server), Raw(plain_server)]
    with pytest.raises(InvalidStatus) as refused:
        Raw(plain_server)
    assert refused.value.response.status_code == 503
    for client in clients:
        client.close()


def test_call_that_runs_at_the_end_is_answered_and_recorded(tmp_path: Path) -> None:
    policy = HeldPolicy()
    with toy_server(tmp_path, policy) as server:
        client = Raw(server)
        client.connection.send(pack(observe()))
        assert policy.entered.wait(60)
        server._loop.call_soon_threadsafe(server.service.stop)
        policy.release()
        assert unpack(client.connection.recv(timeout=60))["actions"].shape == (5, 2)
        with pytest.raises(ConnectionClosed) as closed:
            client.connection.recv(timeout=60)
        assert closed.value.rcvd.code == 1001
    [(frames, about)] = rollouts(tmp_path)
    assert (frames, about["ended"]) == (1, "the server ended")


def test_failing_policy_and_actions_that_are_not_finite_are_answered_with_a_sentence(tmp_path: Path) -> None:
    class Failing(ToyPolicy):
        failure: Any = None

        def _path(self, fed: Any, after_step: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            return super()._path(fed, after_step)

    policy = Failing()
    with toy_server(tmp_path, policy) as server:
        client = Raw(server)
        client.infer()
        policy.failure = RuntimeError("kernel launch failed")
        assert client.infer() == "the call failed in the server (RuntimeError: kernel launch failed)"
        policy.failure = None
        nan = client.infer(**{"observation/joint_position": np.array([np.nan, 0.0, 0.0])})
        assert nan == "the policy's actions are not finite numbers, which no robot should carry out"
        assert client.infer()["actions"].shape == (5, 2)
        client.close()
    [(frames, about)] = rollouts(tmp_path)
    assert (frames, about["calls"], about["dropped"]) == (2, 4, 2)


def test_port_that_is_taken_gets_a_sentence(plain_server: RunningServer) -> None:
    with (
        pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {plain_server.port} .* another --port"),
        toy_server(None, port=plain_server.port),
    ):
        pass


def test_served_actions_are_those_of_the_policy(served: tuple[Any, Any], tmp_path: Path) -> None:
    from capture.observation import Observation
    from capture.policies.base import Prepared

    setup, policy = served
    sent = observe()
    with running_server(setup, policy, tmp_path, seed=5) as server:
        client = Raw(server)
        answer = client.infer()
        client.close()
    state = np.concatenate([sent["observation/joint_position"], sent["observation/gripper_position"]])
    pictures = {"exterior": sent["observation/exterior_image_1_left"], "wrist": sent["observation/wrist_image_left"]}
    observation = Observation(pictures, sent["prompt"], state)
    prepared = Prepared(
        observation, setup.policy.prepare_pictures(observation), setup.policy.tokenise(sent["prompt"], state)
    )
    plain = policy.plain([prepared], seeds=[5]).actions[0].numpy()
    assert np.array_equal(answer["actions"], policy.to_robot(plain, state))
    assert answer["actions"].shape == (6, 4)
