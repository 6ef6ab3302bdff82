"""Units of ALOHA robots, which Pi0.5's ALOHA policies do not use: the server converts both ways, as openpi's does.

A state and an action have 14 numbers: six joints and a gripper of the left arm, then of the right one. The policies see
some joints with the opposite sign and grippers as angles, and predict joints relative to the state. The formulas and
constants are those of openpi's `AlohaInputs`, `AlohaOutputs` and `AbsoluteActions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.provenance import Decision

Floats = npt.NDArray[np.float64]

SUBJECT: Final = "units of states and actions"
OWN_UNITS: Final = "pi's own ALOHA units"
"""Subject and choice of a checkpoint's decision that its policy does not use the robot's units."""

DIMS: Final = 14
GRIPPERS: Final = (6, 13)
SIGNS: Final = np.array([1, -1, -1, 1, 1, 1, 1] * 2, np.float64)
"""Signs of joints between the robot and the policy; they are their own inverse."""

RESET_POSE: Final = (0.0, -1.5, 1.5, 0.0, 0.0, 0.0)
"""Joints of an arm before an episode, which openpi states for these policies."""

_LINEAR: Final = (0.01844, 0.05800)
"""Positions of a closed and an open gripper in metres, which ALOHA's software maps to 0 and 1."""
_ARM, _HORN = 0.036, 0.022
"""Lengths of the gripper's linkage in metres."""
_ANGLES: Final = (0.5476, 1.6296)
"""Angles that the policies map to 0 and 1."""
_COMMANDS: Final = (-0.6213, 1.4910)
"""Angles that ALOHA's software maps to 0 and 1 for commands."""


def uses_own_units(decisions: Iterable[Decision]) -> bool:
    """Return whether these decisions about a checkpoint say that its policy uses its own ALOHA units."""
    return any(decision.subject == SUBJECT and decision.choice == OWN_UNITS for decision in decisions)


def explain_units(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """Return the decisions about a checkpoint as they are when it is served: in the robot's units."""
    reason = "the policy's own ALOHA units are converted as openpi does: signs, grippers, joints relative to the state"
    converted = Decision(SUBJECT, "the robot's", reason, is_certain=True)
    return tuple(converted if uses_own_units([decision]) else decision for decision in decisions)


def state_to_policy(state: npt.NDArray[np.float64]) -> Floats:
    """Return a robot's state (14,) in the policy's units. Raises UserError for another length."""
    if state.shape != (DIMS,):
        raise UserError(f"the state has {state.size} numbers, but ALOHA's two arms have {DIMS}")
    converted = SIGNS * state
    grippers = list(GRIPPERS)
    position = state[grippers] * (_LINEAR[1] - _LINEAR[0]) + _LINEAR[0]
    sine = (_HORN**2 + position**2 - _ARM**2) / (2 * _HORN * position)
    converted[grippers] = (np.arcsin(np.clip(sine, -1.0, 1.0)) - _ANGLES[0]) / (_ANGLES[1] - _ANGLES[0])
    return converted


def actions_to_robot(
    actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64], *, is_relative: bool
) -> npt.NDArray[np.float32]:
    """Return actions (H, 14) in the robot's units, of those in the policy's and the state (14,) in the robot's.

    `is_relative`: whether the joints are relative to the state in the policy's units, which is added then.
    """
    converted = np.asarray(actions, np.float64).copy()
    grippers = list(GRIPPERS)
    if is_relative:
        joints = [dim for dim in range(DIMS) if dim not in GRIPPERS]
        converted[:, joints] += state_to_policy(state)[joints]
    converted *= SIGNS
    converted[:, grippers] = (converted[:, grippers] + _ANGLES[0] - _COMMANDS[0]) / (_COMMANDS[1] - _COMMANDS[0])
    return converted.astype(np.float32)
