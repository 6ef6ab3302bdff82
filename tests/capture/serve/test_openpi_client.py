"""openpi's own client, in an environment of its own, against the server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from policy_server import (
    HeldPolicy,
    RawClient,
    finish_client,
    make_client_observation,
    run_client,
    running_server,
    start_client,
    toy_server,
)
from test_policy_server import rollouts

from capture.results import schema


@pytest.fixture
def toy_folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_client_gets_metadata_and_the_actions_that_are_in_the_file(served: tuple[Any, Any], tmp_path: Path) -> None:
    setup, policy = served
    with running_server(setup, policy, tmp_path) as server:
        answers = run_client(
            server.port,
            """
policy = connect()
answers = [policy.infer(observe()) for _ in range(3)]
policy.infer({"pi0-capture": {"end": True, "success": True}})
policy.reset()
print(json.dumps({
    "metadata": policy.get_server_metadata(),
    "actions": [one["actions"].tolist() for one in answers],
    "dtype": str(answers[0]["actions"].dtype), "keys": sorted(answers[0]), "timing": sorted(answers[1]["server_timing"]),
}))
""",
        )
    assert answers["metadata"]["pi0-capture"]["robot_dim"] == 4
    assert (answers["dtype"], answers["timing"]) == ("float32", ["infer_ms", "prev_total_ms"])
    assert answers["keys"] == ["actions", "pi0-capture", "policy_timing", "server_timing"]
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert np.array_equal(file["action/predicted"][...], np.array(answers["actions"], np.float32))
        assert np.array_equal(
            file["images/exterior/source"][0], make_client_observation()["observation/exterior_image_1_left"]
        )
    index = json.loads((tmp_path / schema.INDEX_NAME).read_text())
    assert [(episode["success"], episode["frames"]) for episode in index["episodes"]] == [(True, 3)]


def test_episode_of_a_hundred_calls_through_the_action_chunk_broker(toy_folder: Path) -> None:
    with toy_server(toy_folder, max_pending=200) as server:
        answers = run_client(
            server.port,
            """
policy = ActionChunkBroker(connect(), action_horizon=5)
print(json.dumps([policy.infer(observe())["actions"].tolist() for _ in range(500)]))
""",
        )
    [(frames, description)] = rollouts(toy_folder)
    assert (frames, description["calls"], description["dropped"]) == (100, 100, 0)
    with h5py.File(toy_folder / "episode_000000.h5") as file:
        assert np.array_equal(file["action/predicted"][...].reshape(500, 2), np.array(answers, np.float32))
        assert file["frames/index"][:].tolist() == list(range(100))


def test_two_clients_at_once_get_what_each_would_get_alone(toy_folder: Path) -> None:
    program = """
policy = connect()
answers = [policy.infer({**observe(given["prompt"]), "pi0-capture": {"seed": k}}) for k in range(20)]
print(json.dumps([one["actions"].tolist() for one in answers]))
"""
    with toy_server(toy_folder) as server:
        clients = [
            start_client(server.port, program, prompt=prompt) for prompt in ("open the drawer", "stack the cups")
        ]
        concurrent = [finish_client(client) for client in clients]
    with toy_server(None) as server:
        single = run_client(server.port, program, prompt="open the drawer")
    assert concurrent == [single, single]  # the toy policy does not read its prompt
    assert [frames for frames, _ in rollouts(toy_folder)] == [20, 20]
    prompts = set()
    for path in toy_folder.glob("*.h5"):
        with h5py.File(path) as file:
            prompts |= {frozenset(file["frames/prompt"].asstr())}
    assert prompts == {frozenset({"open the drawer"}), frozenset({"stack the cups"})}


def test_killed_client_leaves_a_finished_file_and_others_continue(toy_folder: Path) -> None:
    policy = HeldPolicy()
    with toy_server(toy_folder, policy) as server:
        client = start_client(server.port, "connect().infer(observe())")
        assert policy.entered.wait(60)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        policy.release()
        answers = run_client(
            server.port, 'print(json.dumps(connect().infer(observe("stack the cups"))["actions"].tolist()))'
        )
        next_client = run_client(
            server.port, 'print(json.dumps(connect().infer(observe("stack the cups"))["actions"].tolist()))'
        )
    assert np.shape(answers) == np.shape(next_client) == (5, 2)
    finished = rollouts(toy_folder)
    assert [description["ended"] for _, description in finished][-2:] == ["the client disconnected"] * 2
    assert not list(toy_folder.glob("*.partial"))


def test_errors_reach_the_client_as_text_and_it_goes_on(toy_folder: Path) -> None:
    with toy_server(toy_folder) as server:
        answers = run_client(
            server.port,
            """
policy = connect()
good = observe()
def changed(**values):
    kept = {**good, **{f"observation/{name}": value for name, value in values.items()}}
    return {name: value for name, value in kept.items() if value is not None}
errors = [fail(policy, one) for one in (
    {"image": good["prompt"]}, changed(wrist_image_left=None), changed(wrist_image_left=np.zeros((4, 4), np.uint8)),
    changed(wrist_image_left=np.zeros((4, 4, 3), np.int64)), changed(joint_position=None, gripper_position=None),
    {**good, "prompt": None},
)]
print(json.dumps([errors, policy.infer(good)["actions"].tolist()]))
""",
        )
    errors, actions = answers
    sentences = [
        "has no picture",
        "there is no camera 'wrist_image_left' in the client's observation; it has exterior_image_1_left",
        "there is no camera 'wrist_image_left' in the client's observation; it has exterior_image_1_left",
        "the client's picture wrist_image_left holds int64 values; uint8, or floats from 0 to 1, are needed",
        "the client's observation has no state that is known to be this policy's; it has none",
        "has a prompt that is no text",
    ]
    for error, sentence in zip(errors, sentences, strict=True):
        assert error.startswith("RuntimeError: Error in inference server:\n")
        assert sentence in error
    assert np.shape(actions) == (5, 2)
    assert [frames for frames, _ in rollouts(toy_folder)] == [1]


def test_client_sends_its_key(toy_folder: Path) -> None:
    with toy_server(None, key="secret") as server:
        program = 'print(json.dumps(connect().infer(observe())["pi0-capture"]["call"]))'
        assert run_client(server.port, program, key="secret") == 0
        program_without_key = """
try:
    connect()
except Exception as error:
    print(json.dumps(str(error)))
"""
        assert "401" in run_client(server.port, program_without_key)


def test_real_and_raw_clients_share_a_server(toy_folder: Path) -> None:
    with toy_server(toy_folder) as server:
        raw = RawClient(server)
        raw.infer()
        assert run_client(server.port, 'print(json.dumps(connect().infer(observe())["pi0-capture"]["call"]))') == 0
        assert raw.infer()["pi0-capture"]["call"] == 1
        raw.close()
    assert sorted(frames for frames, _ in rollouts(toy_folder)) == [1, 2]
