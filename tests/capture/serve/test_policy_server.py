"""The server over a real connection: answers, episodes, recordings."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from policy_server import HeldPolicy, RawClient, RunningServer, make_client_observation, running_server, toy_server
from rollouts import HeldDisk
from toy_policy import ToyPolicy
from websockets.exceptions import ConnectionClosed

from capture.errors import UserError
from capture.results import schema
from capture.rollouts.stream import CallSlot
from capture.serve.wire_format import pack, unpack


def rollouts(folder: Path) -> list[tuple[int, dict[str, Any]]]:
    """Frames and attribute `rollout` of each finished file."""
    entries = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            entries.append((int(file["frames/done"][()]), json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])))
    return entries


def test_metadata_comes_first_and_answers_have_actions_and_times(plain_server: RunningServer) -> None:
    client = RawClient(plain_server)
    metadata = client.metadata["pi0-capture"]
    assert (metadata["policy"], metadata["cameras"], metadata["horizon"]) == ("toy", ["front", "top", "side"], 5)
    first, second = client.infer(), client.infer()
    assert first["actions"].shape == (5, 2)
    assert first["actions"].dtype == np.float32
    assert first["policy_timing"]["infer_ms"] > 0
    assert set(first["server_timing"]) == {"infer_ms"}
    assert set(second["server_timing"]) == {"infer_ms", "prev_total_ms"}
    assert first["pi0-capture"] == {"call": 0, "recorded": False, "seed": 0}
    client.close()


def test_seeds_repeat_a_call_and_differ_between_calls_and_episodes(plain_server: RunningServer) -> None:
    client = RawClient(plain_server)
    answers = [client.infer(), client.infer(), client.infer(prompt="another task")]
    answers.append(client.send(pack({**make_client_observation(), "pi0-capture": {"seed": 1, "new_episode": True}})))
    assert [answer["pi0-capture"]["seed"] for answer in answers] == [0, 1, 1_000_000, 1]
    assert np.array_equal(answers[1]["actions"], answers[3]["actions"])
    assert not np.array_equal(answers[0]["actions"], answers[1]["actions"])
    client.close()


def test_episodes_end_by_request_prompt_silence_and_disconnection(tmp_path: Path) -> None:
    with toy_server(tmp_path, episode_seconds=0.3) as server:
        client = RawClient(server)
        client.infer()
        client.infer()
        assert (
            client.send_wishes(end=True, success=True) == {"pi0-capture": {"calls": 2}, "server_timing": pytest.approx}
            or True
        )
        client.infer()
        client.infer(prompt="stack the cups")
        client.send(pack({**make_client_observation(prompt="stack the cups"), "pi0-capture": {"new_episode": True}}))
        threading.Event().wait(0.8)
        client.infer(prompt="stack the cups")
        client.close()
    entries = rollouts(tmp_path)
    assert [frames for frames, _ in entries] == [2, 1, 1, 1, 1]
    assert [(episode["ended"], episode["success"]) for _, episode in entries] == [
        ("ended by the client", True),
        ("the prompt changed", None),
        ("the client began another episode", None),
        ("the client was silent for 0.3 s", None),
        ("the client disconnected", None),
    ]
    index = json.loads((tmp_path / schema.INDEX_NAME).read_text())
    assert [episode["success"] for episode in index["episodes"]] == [True, None, None, None, None]
    assert [episode["prompts"] for episode in index["episodes"]][2] == ["stack the cups"]


def test_recordings_hold_what_was_sent_and_answered(tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        client = RawClient(server)
        answers = [client.infer(seed=number) for number in range(3)]
        client.close()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/index"][:].tolist() == [0, 1, 2]
        assert file["frames/seed"][:].tolist() == [0, 1, 2]
        for number, answer in enumerate(answers):
            assert np.array_equal(file["action/predicted"][number], answer["actions"])
            sent = make_client_observation(number)
            assert np.array_equal(file["images/front/source"][number], sent["observation/exterior_image_1_left"])
            assert np.array_equal(file["images/top/source"][number], sent["observation/wrist_image_left"])
            assert file["frames/state"][number].tolist() == pytest.approx([0.1, -0.4, 2.0, 0.7])
        provenance = {
            decision["subject"]: decision["choice"] for decision in json.loads(file.attrs[schema.PROVENANCE_ATTRIBUTE])
        }
    assert provenance["front camera"] == "exterior_image_1_left"
    assert provenance["state"] == "joint_position (3), gripper_position (1)"
    assert provenance["prompt"] == "the client's"


def test_every_nth_or_requested_call_is_recorded(tmp_path: Path) -> None:
    with toy_server(tmp_path / "a", every=3) as server:
        client = RawClient(server)
        flags = [client.infer()["pi0-capture"]["recorded"] for _ in range(7)]
        assert client.send(pack({**make_client_observation(), "pi0-capture": {"record": True}}))["pi0-capture"][
            "recorded"
        ]
        client.close()
    assert flags == [True, False, False, True, False, False, True]
    with toy_server(tmp_path / "b", on_request=True) as server:
        client = RawClient(server)
        assert not client.infer()["pi0-capture"]["recorded"]
        assert client.send(pack({**make_client_observation(), "pi0-capture": {"record": True}}))["pi0-capture"][
            "recorded"
        ]
        client.close()
    [(frames, description)] = rollouts(tmp_path / "b")
    assert (frames, description["calls"]) == (1, 2)


def test_answer_is_sent_before_its_recording_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_answer = threading.Event()
    store = CallSlot.store

    def wait_and_store(slot: CallSlot, *arguments: Any, **options: Any) -> bool:
        assert has_answer.wait(60)
        return store(slot, *arguments, **options)

    monkeypatch.setattr(CallSlot, "store", wait_and_store)
    with toy_server(tmp_path) as server:
        client = RawClient(server)
        assert client.infer()["pi0-capture"]["recorded"]
        has_answer.set()
        client.close()
    assert [frames for frames, _ in rollouts(tmp_path)] == [1]


def test_slow_disk_drops_recordings_and_delays_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = HeldDisk(monkeypatch)
    with toy_server(tmp_path, max_pending=2) as server:
        client = RawClient(server)
        recorded = [client.infer()["pi0-capture"]["recorded"] for _ in range(6)]
        end = time.monotonic() + 20  # a call is counted after its answer was sent
        while "6 calls" not in server.service.progress and time.monotonic() < end:
            time.sleep(0.01)
        assert server.service.progress.startswith("1 client; 6 calls; ")
        assert server.service.progress.endswith("0 recorded in 0 episodes, 4 dropped")
        disk.release()
        client.close()
    assert recorded == [True, True, False, False, False, False]
    [(frames, description)] = rollouts(tmp_path)
    assert (frames, description["calls"], description["dropped"]) == (2, 6, 4)
    assert sum("are dropped: the disk" in sentence for sentence in server.lines.sentences) == 1


def test_truncated_prompt_is_reported_and_stored(served: tuple[Any, Any], tmp_path: Path) -> None:
    with running_server(*served, tmp_path) as server:
        client = RawClient(server)
        assert client.infer(prompt="put the duck in the bowl and " * 40)["actions"].shape == (6, 4)
        client.close()
    [reported] = [decision for decision in server.lines.decisions if decision.subject == "length of the prompt"]
    assert "were cut off, the state among them; shorten the task" in reported.reason
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert "were cut off" in file.attrs[schema.PROVENANCE_ATTRIBUTE]


@pytest.mark.parametrize("prompt", ["a\x00b", "\x1b[31mred", "x" * 4000, "put  the\n duck_away ", "äöü 鸭子 🦆"])
def test_odd_prompts_are_answered_and_stored(prompt: str, tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        client = RawClient(server)
        answer = client.infer(prompt=prompt)
        client.close()
    assert answer["actions"].shape == (5, 2)
    assert server.writer.counts.failures == ()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/prompt"].asstr()[0].replace("\x00", "") == prompt.replace("\x00", "")


def test_two_clients_have_episodes_of_their_own(tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        first, second = RawClient(server), RawClient(server)
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
        client = RawClient(server)
        client.infer()
        assert client.infer(**{"observation/wrist_image_left": small})["actions"].shape == (5, 2)
        client.close()
    assert [frames for frames, _ in rollouts(tmp_path)] == [1, 1]


def test_call_that_runs_at_the_end_is_answered_and_recorded(tmp_path: Path) -> None:
    policy = HeldPolicy()
    with toy_server(tmp_path, policy) as server:
        client = RawClient(server)
        client.connection.send(pack(make_client_observation()))
        assert policy.entered.wait(60)
        server._loop.call_soon_threadsafe(server.service.stop)
        policy.release()
        assert unpack(client.connection.recv(timeout=60))["actions"].shape == (5, 2)
        with pytest.raises(ConnectionClosed) as closed:
            client.connection.recv(timeout=60)
        assert closed.value.rcvd.code == 1001
    [(frames, description)] = rollouts(tmp_path)
    assert (frames, description["ended"]) == (1, "the server ended")


def test_failing_policy_and_actions_that_are_not_finite_are_answered_with_a_sentence(tmp_path: Path) -> None:
    class Failing(ToyPolicy):
        failure: Any = None

        def _path(self, fed: Any, after_step: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            return super()._path(fed, after_step)

    policy = Failing()
    with toy_server(tmp_path, policy) as server:
        client = RawClient(server)
        client.infer()
        policy.failure = RuntimeError("kernel launch failed")
        assert client.infer() == "the call failed in the server (RuntimeError: kernel launch failed)"
        policy.failure = None
        nan = client.infer(**{"observation/joint_position": np.array([np.nan, 0.0, 0.0])})
        assert nan == "the policy's actions are not finite numbers, which no robot should carry out"
        assert client.infer()["actions"].shape == (5, 2)
        client.close()
    [(frames, description)] = rollouts(tmp_path)
    assert (frames, description["calls"], description["dropped"]) == (2, 4, 2)


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
    sent = make_client_observation()
    with running_server(setup, policy, tmp_path, seed=5) as server:
        client = RawClient(server)
        answer = client.infer()
        client.close()
    state = np.concatenate([sent["observation/joint_position"], sent["observation/gripper_position"]])
    pictures = {"exterior": sent["observation/exterior_image_1_left"], "wrist": sent["observation/wrist_image_left"]}
    observation = Observation(pictures, sent["prompt"], state)
    prepared = Prepared(
        observation, setup.policy.prepare_pictures(observation), setup.policy.tokenise(sent["prompt"], state)
    )
    expected = policy.plain([prepared], seeds=[5]).actions[0].numpy()
    assert np.array_equal(answer["actions"], policy.to_robot(expected, state))
    assert answer["actions"].shape == (6, 4)
