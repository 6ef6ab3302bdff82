"""Settings read from a checkpoint's configuration files, in this project's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from capture.checkpoints.options import CheckpointOptions
from capture.policies.pi05.preprocessing import Normaliser, Preprocessing
from capture.provenance import Decision

STATISTICS: Final = "statistics"
DELTA: Final = "delta actions"
"""Subjects of decisions."""

DENOISE_STEPS: Final = 10
"""Default of openpi's and lerobot's Pi0.5."""


@dataclass(frozen=True)
class CameraNames:
    """A checkpoint's own names of its cameras, for finding them in a data set."""

    features: Mapping[str, str] = field(default_factory=dict)
    """Camera -> the checkpoint's name of it, such as `observation.images.base_0_rgb`."""
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Camera -> the names in the training data that the checkpoint renames to it."""


@dataclass(frozen=True)
class Settings:
    """Settings of a checkpoint other than its weights and their sizes."""

    preprocessing: Preprocessing
    horizon: int
    denoise_steps: int
    decisions: tuple[Decision, ...]
    """Where each setting that changes the model's input or the meaning of its actions comes from."""
    cameras: CameraNames = field(default_factory=CameraNames)


def assume(subject: str, choice: str, reason: str) -> Decision:
    """Return a decision that neither a file nor an option makes."""
    return Decision(subject, choice, reason, is_certain=False)


def conclude(subject: str, choice: str, reason: str) -> Decision:
    """Return a decision that a file or an option makes."""
    return Decision(subject, choice, reason, is_certain=True)


def leave_unnormalised(decisions: list[Decision]) -> tuple[Normaliser, Normaliser]:
    """Return the normalisers of state and action for `--normalisation none`."""
    reason = "by --normalisation none: states must lie in -1 to 1 already, and actions are in the model's units"
    decisions.append(assume("state and action normalisation", "none", reason))
    return Normaliser("identity", {}), Normaliser("identity", {})


def count_robot_dims(
    action: Normaliser, declared: int | None, action_dim: int, decisions: list[Decision]
) -> int | None:
    """Return how many action dimensions go to the robot: those of the statistics without padding, else `declared`.

    None if neither tells.
    """
    subject = "action dimensions of the robot"
    filled = action.filled_dims
    if filled is None:
        if declared is None:
            reason = "neither a configuration nor statistics tell the robot's, so padding is among them"
            decisions.append(assume(subject, f"{action_dim}, all of the model's", reason))
            return None
        decisions.append(conclude(subject, str(declared), "as declared"))
        return min(declared, action_dim)
    chosen = min(filled, declared or filled, action_dim)
    if filled != action.dims:
        reason = f"the other {(action.dims or 0) - filled} of its statistics are 0 throughout, as padding is"
        decisions.append(assume(subject, str(chosen), reason))
    elif declared is not None and declared != filled:
        decisions.append(assume(subject, str(chosen), f"{declared} are declared, but its statistics have {filled}"))
    else:
        decisions.append(conclude(subject, str(chosen), "as many as its statistics have"))
    return chosen


def decide_relative(
    options: CheckpointOptions, mask: tuple[bool, ...], reason: str, decisions: list[Decision], *, is_certain: bool
) -> tuple[bool, ...]:
    """Return which actions are relative to the state: the user's choice, else `mask` for this reason."""
    if options.relative_actions is not None:
        mask, reason, is_certain = options.relative_actions, "by --relative-actions", True
    dims = [str(dim) for dim, is_relative in enumerate(mask) if is_relative]
    choice = "none: actions are absolute" if options.relative_actions is None else "none: the state is not added"
    if dims:
        choice = f"dimensions {', '.join(dims)} are predicted relative to the state, which is added to them"
    decisions.append(Decision(DELTA, choice, reason, is_certain))
    return mask if dims else ()


def decide_denoise_steps(options: CheckpointOptions, stated: int | None, where: str, decisions: list[Decision]) -> int:
    """Return the number of denoise steps: the user's, the one stated in a file, or Pi0.5's default."""
    steps = options.denoise_steps or stated or DENOISE_STEPS
    by_file = where if stated else "Pi0.5's default"
    decisions.append(conclude("denoise steps", str(steps), "by --denoise-steps" if options.denoise_steps else by_file))
    return steps
