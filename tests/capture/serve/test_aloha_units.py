"""Conversion between the units of ALOHA's robots and those of the policies; the numbers were made with openpi's code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from policy_server import RawClient, make_client_observation, running_server
from rollouts import SETUP
from toy_policy import ToyPolicy, ToySpec

from capture.datasets.base import SourceOptions
from capture.errors import UserError
from capture.provenance import Decision
from capture.serve.aloha_units import actions_to_robot, state_to_policy
from capture.serve.wire_format import pack

STATE = np.array([0.274, -0.46, -0.918, -0.967, 0.627, 0.826, 0.2, 0.459, 0.087, 0.87, 0.632, -0.995, 0.715, 0.9])
STATE_OF_POLICY = [
    *(0.274, 0.46, 0.918, -0.967, 0.627, 0.826, -0.599976511),
    *(0.459, -0.087, -0.87, 0.632, -0.995, 0.715, 0.501640157),
]
ACTIONS = np.array(
    [
        [-1.246, -0.732, -0.544, -0.316, 0.412, 1.043, -0.129, 1.366, -0.665, 0.352, 0.903, 0.094, -0.743, -0.922],
        [-0.458, 0.22, -1.01, -0.209, -0.159, 0.541, 0.215, 0.355, -0.654, -0.13, 0.784, 1.493, -1.259, 1.514],
    ],
    np.float32,
)
ACTIONS_OF_ROBOT = [
    [-0.972, 0.272, -0.374, -1.283, 1.039, 1.869, 0.492306964, 1.825, 0.752, 0.518, 1.535, -0.901, -0.028, 0.116886806],
    [-0.184, -0.68, 0.092, -1.176, 0.468, 1.367, 0.655162619, 0.814, 0.741, 1.0, 1.416, 0.498, -0.544, 1.270132084],
]


def test_state_is_converted_as_openpi_does() -> None:
    assert state_to_policy(STATE).tolist() == pytest.approx(STATE_OF_POLICY, abs=1e-8)


def test_actions_are_converted_as_openpi_does() -> None:
    actions = actions_to_robot(ACTIONS, STATE, is_relative=True)
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, ACTIONS_OF_ROBOT, atol=1e-6)


def test_state_of_another_robot_is_refused() -> None:
    with pytest.raises(UserError, match="the state has 8 numbers, but ALOHA's two arms have 14"):
        state_to_policy(np.zeros(8))


class TwoArms(ToyPolicy):
    """The toy policy with 14 actions, which are the state in the policy's units and 1."""

    def to_robot(self, actions: np.ndarray, state: object) -> np.ndarray:
        return np.ones((len(actions), 14), np.float32)


def test_policy_in_its_own_units_is_served_in_those_of_the_robot(tmp_path: Path) -> None:
    units = Decision("units of states and actions", "pi's own ALOHA units", "left to the caller", is_certain=False)
    overrides = {"front": "cam_high", "top": "cam_left_wrist", "side": "none"}
    source = SourceOptions(("front", "top", "side"), 5, camera_overrides=overrides)
    setup = replace(SETUP, policy=ToySpec(decisions=(units,)))
    picture = make_client_observation()["observation/wrist_image_left"].transpose(2, 0, 1)
    with running_server(setup, TwoArms(), tmp_path, source=source, prompt="uncap the pen") as server:
        client = RawClient(server)
        answer = client.send(pack({"state": STATE, "images": {"cam_high": picture, "cam_left_wrist": picture}}))
        assert client.metadata["reset_pose"] == [0, -1.5, 1.5, 0, 0, 0]
        client.close()
    expected = actions_to_robot(np.ones((5, 14), np.float32), STATE, is_relative=True)
    np.testing.assert_array_equal(answer["actions"], expected)
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        np.testing.assert_array_equal(file["frames/state"][0], STATE.astype(np.float32))
        assert "converted as openpi does" in file.attrs["provenance"]
        assert "left to the caller" not in file.attrs["provenance"]
