"""The demo robot's arm: seven hinges, a two-finger gripper, forward and inverse kinematics in numpy.

Joint frames follow Craig's modified Denavit-Hartenberg convention; the link lengths are those that the
Franka Robotics FCI documentation lists for its seven-joint arm, so poses look familiar. Nothing here
renders: `scenes.py` builds MuJoCo bodies from the same table, and a test holds the two together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LINKS: Final[tuple[tuple[float, float, float], ...]] = (
    (0.0, 0.0, 0.333),
    (0.0, -np.pi / 2, 0.0),
    (0.0, np.pi / 2, 0.316),
    (0.0825, np.pi / 2, 0.0),
    (-0.0825, -np.pi / 2, 0.384),
    (0.0, np.pi / 2, 0.0),
    (0.088, np.pi / 2, 0.0),
)
"""(a, alpha, d) of each joint: metres, radians, metres."""

TIP: Final = 0.107 + 0.1034
"""Distance from the seventh joint's frame to the point between the finger tips, metres, along its z axis."""

HAND_TURN: Final = -np.pi / 4
"""Turn of the hand about the seventh joint's z axis, radians: the fingers open along the hand's y axis."""

LOWER: Final[Array] = np.array([-2.89, -1.76, -2.89, -3.07, -2.89, -0.01, -2.89])
UPPER: Final[Array] = np.array([2.89, 1.76, 2.89, -0.07, 2.89, 3.75, 2.89])
"""Joint limits, radians."""

REST: Final[Array] = np.array([0.0, -0.35, 0.0, -2.45, 0.0, 2.10, np.pi / 4])
"""Posture that inverse kinematics prefers among all that reach a pose, radians."""

DOWN: Final[Array] = np.diag([1.0, -1.0, -1.0])
"""Orientation of the hand that points straight down, its x axis along the table's."""


def forward(joints: Array) -> tuple[Array, Array, Array]:
    """Return the pose of the hand and of the joint axes.

    Args:
        joints: (..., 7) joint positions, radians.

    Returns:
        Tip position (..., 3) in metres, hand orientation (..., 3, 3), and per joint its axis and origin (..., 7, 2, 3).
    """
    joints = np.asarray(joints, dtype=np.float64)
    lead = joints.shape[:-1]
    turn = np.broadcast_to(np.eye(3), (*lead, 3, 3))  # (..., 3, 3)
    place = np.zeros((*lead, 3))
    axes = np.empty((*lead, 7, 2, 3))
    for index, (a, alpha, d) in enumerate(LINKS):
        sin_alpha, cos_alpha = np.sin(alpha), np.cos(alpha)
        place = place + turn @ np.array([a, -sin_alpha * d, cos_alpha * d])
        tilt = np.array([[1, 0, 0], [0, cos_alpha, -sin_alpha], [0, sin_alpha, cos_alpha]])
        turn = turn @ tilt @ _about_z(joints[..., index])
        axes[..., index, 0, :] = turn[..., 2]
        axes[..., index, 1, :] = place
    place = place + turn[..., 2] * TIP
    return place, turn @ _about_z(np.asarray(HAND_TURN)), axes


def tip(joints: Array) -> Array:
    """Point between the finger tips, (..., 3) metres, of joint positions (..., 7) in radians."""
    return forward(joints)[0]


def inverse(place: Array, turn: Array | None = None, posture: Array = REST, rounds: int = 18) -> Array:
    """Return the joint positions that bring the tip to a pose, the closest to `posture` of all that do.

    Damped least squares with the posture pulled in the null space; always started from `posture`, so that the answer is
    a smooth function of the pose.

    Args:
        place: (N, 3) tip positions, metres.
        turn: (N, 3, 3) hand orientations; straight down where None.
        posture: (7,) or (N, 7) radians.
        rounds: Newton rounds.

    Returns:
        (N, 7) radians. A pose out of reach gives the nearest posture found: compare `tip` with the wish.
    """
    place = np.asarray(place, dtype=np.float64)
    wish = np.broadcast_to(DOWN if turn is None else turn, (len(place), 3, 3))
    posture = np.broadcast_to(posture, (len(place), 7))
    joints = posture.copy()
    for _ in range(rounds):
        now, facing, axes = forward(joints)
        twist = np.cross(facing, wish, axisa=-2, axisb=-2, axisc=-2).sum(-1) / 2  # (N, 3) small-angle error
        error = np.concatenate([place - now, twist], axis=-1)  # (N, 6)
        axis, origin = axes[..., 0, :], axes[..., 1, :]  # (N, 7, 3)
        jacobian = np.concatenate([np.cross(axis, now[:, None] - origin), axis], axis=-1)  # (N, 7, 6)
        gram = np.swapaxes(jacobian, -1, -2) @ jacobian + 1e-6 * np.eye(6)  # (N, 6, 6)
        pull = 0.5 * (posture - joints)
        along = error - (pull[:, None] @ jacobian)[:, 0]
        step = pull + (jacobian @ np.linalg.solve(gram, along[..., None]))[..., 0]
        joints = np.clip(joints + np.clip(step, -0.3, 0.3), LOWER, UPPER)
    return joints


def chunk(joints: Array, goal: Array, gripper: float, horizon: int) -> Array:
    """Return the expert's actions: joint positions that brake towards the goal, and a gripper that acts on arrival.

    Waypoint k of H is `joints + (1 - (1 - k/H)^2) (goal - joints)`: the last waypoint is the goal itself. The gripper
    (0 open, 1 closed) keeps its state until the tip is within 1.5 cm of the goal, then takes the other.

    Args:
        joints: (7,) radians now.
        goal: (7,) radians.
        gripper: state of the gripper, 0 or 1.
        horizon: number of waypoints H.

    Returns:
        (H, 8) absolute joint positions in radians and gripper position.
    """
    part = np.arange(1, horizon + 1)[:, None] / horizon  # (H, 1)
    way = joints + (1 - (1 - part) ** 2) * (goal - joints)  # (H, 7)
    arrived = np.linalg.norm(tip(way) - tip(goal), axis=-1) < 0.015  # (H,)
    fingers = np.where(arrived, 1.0 - round(gripper), float(round(gripper)))
    return np.concatenate([way, fingers[:, None]], axis=-1)


def _about_z(angle: Array) -> Array:
    """Return rotation matrices (..., 3, 3) about z by `angle` (...) radians."""
    sin, cos = np.sin(angle), np.cos(angle)
    zero, one = np.zeros_like(sin), np.ones_like(sin)
    return np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], axis=-1).reshape(*np.shape(angle), 3, 3)
