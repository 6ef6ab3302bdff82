"""From the messages of DROID, LIBERO and ALOHA clients to the policy's observation."""

from __future__ import annotations

import numpy as np
import pytest

from capture.datasets.base import SourceOptions
from capture.errors import UserError
from capture.provenance import Decision
from capture.serve.observations import MAX_PROMPT, ObservationMapper, split_message
from capture.serve.requests import RequestOptions, parse_request_options

ONE_ARM = SourceOptions(cameras=("exterior", "wrist"), horizon=5, state_dim=8, robot_dim=7)
TWO_ARMS = SourceOptions(cameras=("exterior", "wrist", "right wrist"), horizon=5, state_dim=14, robot_dim=14)


def make_picture(number: int, shape: tuple[int, ...] = (4, 6, 3), dtype: object = np.uint8) -> np.ndarray:
    return np.full(shape, number, dtype)


def make_droid_message(**changed: object) -> dict[str, object]:
    message = {
        "observation/exterior_image_1_left": make_picture(1),
        "observation/wrist_image_left": make_picture(2),
        "observation/joint_position": np.arange(7.0),
        "observation/gripper_position": np.array([9.0]),
        "prompt": "put the duck in the bowl",
    }
    return {**message, **{f"observation/{key}": value for key, value in changed.items()}}


LIBERO = {
    "observation/image": make_picture(1),
    "observation/wrist_image": make_picture(2),
    "observation/state": np.arange(8.0),
    "prompt": "open the drawer",
}
ALOHA_CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
ALOHA = {
    "state": np.arange(14.0),
    "images": {name: make_picture(number, (3, 4, 6)) for number, name in enumerate(ALOHA_CAMERAS)},
    "prompt": "uncap the pen",
}


def make_mapper(options: SourceOptions = ONE_ARM, **given: object) -> ObservationMapper:
    return ObservationMapper(options, **{"needs_state": True, "prompt": None, **given})


def read_values(observation: object) -> dict[str, int]:
    return {name: int(array[0, 0, 0]) for name, array in observation.pictures.items()}


def test_droid_keys_are_mapped_with_the_gripper_behind_the_joints() -> None:
    observation, decisions = make_mapper().map(make_droid_message())
    assert read_values(observation) == {"exterior": 1, "wrist": 2}
    assert observation.prompt == "put the duck in the bowl"
    assert observation.state.tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    chosen = {decision.subject: (decision.choice, decision.is_certain) for decision in decisions}
    assert chosen["exterior camera"] == ("exterior_image_1_left", True)
    assert chosen["state"] == ("joint_position (7), gripper_position (1)", True)
    assert chosen["prompt"] == ("the client's", True)


def test_scalar_gripper_position_is_one_number() -> None:
    assert make_mapper().map(make_droid_message(gripper_position=np.float64(0.5)))[0].state[-1] == 0.5
    assert make_mapper().map(make_droid_message(gripper_position=0.5))[0].state[-1] == 0.5


def test_libero_keys_are_mapped() -> None:
    observation, _ = make_mapper().map(LIBERO)
    assert read_values(observation) == {"exterior": 1, "wrist": 2}
    assert observation.state.tolist() == list(range(8))
    assert not observation.is_upside_down


def test_aloha_keys_are_mapped_and_pictures_are_turned_to_rows_first() -> None:
    observation, decisions = make_mapper(TWO_ARMS).map(ALOHA)
    assert read_values(observation) == {"exterior": 0, "wrist": 2, "right wrist": 3}
    assert {array.shape for array in observation.pictures.values()} == {(4, 6, 3)}
    assert ("right wrist camera", "cam_right_wrist") in {(decision.subject, decision.choice) for decision in decisions}


def test_float_pictures_are_cut_as_openpi_does() -> None:
    observation, _ = make_mapper().map(make_droid_message(wrist_image_left=np.full((4, 6, 3), 0.999, np.float32)))
    assert observation.pictures["wrist"].max() == 254


def test_camera_option_and_whole_keys_name_a_camera() -> None:
    message = {**make_droid_message(), "left/rgb": make_picture(5), "right/rgb": make_picture(6)}
    options = SourceOptions(("exterior", "wrist"), 5, 8, camera_overrides={"exterior": "right/rgb"})
    observation, decisions = make_mapper(options).map(message)
    assert read_values(observation) == {"exterior": 6, "wrist": 2}
    assert Decision("exterior camera", "right/rgb", "by --camera", is_certain=True) in decisions


def test_prompt_option_is_used_where_the_client_sends_none() -> None:
    message = make_droid_message()
    del message["prompt"]
    with pytest.raises(UserError, match="has no task; send it under the key 'prompt'"):
        make_mapper().map(message)
    observation, decisions = make_mapper(prompt="wipe the table").map(message)
    assert observation.prompt == "wipe the table"
    assert Decision("prompt", "by --prompt", "the client sends none", is_certain=True) in decisions


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"wrist_image_left": None}, "no picture for the policy's wrist camera; it has exterior_image_1_left"),
        (
            {"wrist_image_left": None, "hand": make_picture(3)},
            "none of the cameras .* is known to be the policy's wrist",
        ),
        ({"joint_position": None}, "the policy's state has 8 numbers, but .* has gripper_position .1."),
        ({"joint_position": None, "gripper_position": None}, "has no state that is known to be this policy's"),
        ({"joint_position": np.arange(6.0)}, "the policy's state has 8 numbers"),
        ({"joint_position": np.zeros((7, 1))}, "the policy's state has 8 numbers"),
        ({"wrist_image_left": make_picture(2, (4, 6, 4))}, "wrist_image_left holds an array of shape .4, 6, 4."),
        ({"wrist_image_left": make_picture(2, dtype=np.int32)}, "wrist_image_left holds int32 values"),
        ({"wrist_image_left": make_picture(2, dtype=np.float32)}, "wrist_image_left holds floats outside 0 to 1"),
        ({"wrist_image_left": make_picture(2, (0, 6, 3))}, "wrist_image_left holds an array of shape .0, 6, 3."),
        ({"wrist_image_left": np.zeros((1, 60_000_000, 3), np.uint8)}, "too large"),
    ],
)
def test_unusable_observation_gets_a_sentence(changed: dict[str, object], sentence: str) -> None:
    message = {key: value for key, value in make_droid_message(**changed).items() if value is not None}
    with pytest.raises(UserError, match=sentence):
        make_mapper().map(message)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({}, "has no picture"),
        ({"prompt": 3}, "prompt that is no text"),
        ({"prompt": b"\xff"}, "no text in UTF-8"),
        ({"prompt": np.array("\ud800")}, "no text in UTF-8"),
        ({"prompt": "a" * (MAX_PROMPT + 1)}, f"{MAX_PROMPT} are the limit"),
        ({b"prompt": "a"}, "a key that is bytes"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "nested more than"),
    ],
)
def test_malformed_observation_gets_a_sentence(message: dict[object, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make_mapper().map(message)


def test_right_wrist_may_be_missing_and_any_camera_that_is_left_out() -> None:
    options = SourceOptions(("exterior", "wrist", "right wrist"), 5, 8, camera_overrides={"wrist": "none"})
    observation, decisions = make_mapper(options).map(
        {key: value for key, value in make_droid_message().items() if "wrist" not in key}
    )
    assert read_values(observation) == {"exterior": 1}
    assert [decision.choice for decision in decisions if "wrist" in decision.subject] == ["masked", "masked"]


def test_mapping_follows_keys_that_change() -> None:
    mapped = make_mapper()
    assert read_values(mapped.map(make_droid_message())[0]) == {"exterior": 1, "wrist": 2}
    assert read_values(mapped.map(LIBERO)[0]) == {"exterior": 1, "wrist": 2}
    without = {key: value for key, value in make_droid_message().items() if "wrist" not in key}
    for _ in range(2):
        with pytest.raises(UserError, match="wrist"):
            mapped.map(without)
    assert read_values(mapped.map(make_droid_message())[0]) == {"exterior": 1, "wrist": 2}


def test_values_that_are_no_numbers_are_left_out() -> None:
    parts = split_message({"flag": True, "names": ["a"], "masks": np.array([True]), "one": 1, "list": [1, 2.5]})
    assert list(parts.cameras) == []
    assert {name: array.tolist() for name, array in parts.state.items()} == {"one": [1], "list": [1.0, 2.5]}


def test_requests_are_read_and_removed_from_the_observation() -> None:
    request_options, rest = parse_request_options(
        {"pi0-capture": {"record": True, "new_episode": np.True_, "seed": np.int64(7)}, "a": 1}
    )
    assert request_options == RequestOptions(record=True, new_episode=True, seed=7)
    assert rest == {"a": 1}
    assert parse_request_options({"a": 1}) == (RequestOptions(), {"a": 1})
    assert parse_request_options({"pi0-capture": {"success": False}}) == (RequestOptions(success=False), {})


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"pi0-capture": 1}, "is a map with the keys record"),
        ({"pi0-capture": {"recrod": True}}, "unknown key 'recrod'"),
        ({"pi0-capture": {"record": 1}}, "record of 'pi0-capture' in a message is true or false"),
        ({"pi0-capture": {"seed": -1}}, "seed of 'pi0-capture' .* whole number"),
        ({"pi0-capture": {"seed": True}}, "seed of 'pi0-capture' .* whole number"),
        ({"pi0-capture": {"end": True}, "a": 1}, "in a message of their own"),
        ({"pi0-capture": {"record": True}}, "alone ends an episode"),
        ({"pi0-capture": {}}, "alone ends an episode"),
    ],
)
def test_unusable_requests_get_a_sentence(message: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_request_options(message)
