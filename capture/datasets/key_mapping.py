"""Which of a source's cameras, state parts and actions are the policy's: by a table of names, or as the user says.

The names are those of DROID (its raw files, openpi's and lerobot's conversions), of LIBERO (its HDF5 files, openpi's
and lerobot's conversions), of robomimic and of openpi's ALOHA sets. What a source calls otherwise is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from capture.datasets.base import SourceOptions
from capture.errors import UserError
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST

CAMERAS: Final[Mapping[str, tuple[str, ...]]] = {
    EXTERIOR: (
        *("exterior_image_1_left", "exterior_1_left", "exterior_image_2_left", "exterior_2_left"),
        *("image", "agentview_rgb", "agentview_image", "base_0_rgb", "cam_high"),
    ),
    WRIST: (
        *("wrist_image_left", "wrist_left", "wrist_image", "image2", "eye_in_hand_rgb", "robot0_eye_in_hand_image"),
        *("left_wrist_0_rgb", "cam_left_wrist"),
    ),
    RIGHT_WRIST: ("right_wrist_0_rgb", "cam_right_wrist"),
}
"""Policy camera -> what sources call it, the first that is there."""

STATES: Final = (
    ("joint_position", "gripper_position"),
    ("ee_pos", "ee_ori", "gripper_states"),
    ("ee_states", "gripper_states"),
    ("robot0_eef_pos", "robot0_eef_axis_angle", "robot0_gripper_qpos"),
    ("state",),
)
"""State parts in the order in which policies read them, the first that is there and has the policy's length."""

ACTIONS: Final = (("joint_velocity", "gripper_position"), ("actions",), ("action",))
"""Action parts likewise: DROID's policies act in joint velocities and gripper positions."""

JOINTS: Final = ("joint_position", "gripper_position")
"""Action parts of policies that act in joint positions, openpi's `pi05_full_droid_finetune` among them."""

NONE: Final = "none"
"""What a user writes to go without a camera or true actions."""


T = TypeVar("T")


@dataclass(frozen=True)
class Chosen:
    """What a policy gets of a source."""

    cameras: Mapping[str, str]
    """Policy camera -> camera of the source; those that it goes without are left out."""
    state: tuple[str, ...]
    """State parts in order; empty for none."""
    actions: tuple[str, ...]
    mapped: tuple[str, ...]
    """Sentences that say so."""


def typical(episodes: Sequence[T], told: Callable[[T], Sequence[Iterable[str]]]) -> T:
    """The first episode of those that are most alike in what is `told` of them: cameras, state and action parts.

    Its cameras and parts are mapped for all: one that lacks a camera, be it the very first, decides nothing for the
    others. Where as many are like this as like that, it is one with more of them. Lengths of parts count, where
    a mapping tells them.
    """
    each = [
        tuple(tuple(part.items() if isinstance(part, Mapping) else part) for part in told(episode))
        for episode in episodes
    ]
    count = Counter(each)
    best = max(each, key=lambda one: (count[one], *(len(names) for names in one)))
    return episodes[each.index(best)]


def choose(
    source: str,
    wanted: SourceOptions,
    cameras: Sequence[str],
    *,
    state: Mapping[str, int],
    actions: Mapping[str, int],
    aliases: Mapping[str, str] | None = None,
) -> Chosen:
    """What `wanted` gets of a source that has these cameras and these parts (name -> numbers).

    `source` names it in sentences; `aliases` are further names that a user may give a camera. Raises UserError for a
    name that does not exist, for a camera that is not known by the table, and for a source of another robot.
    """
    found = _cameras(source, wanted, cameras, aliases or {})
    state_parts = _parts(source, "state", STATES, wanted.state_keys, state, wanted.state_dim)
    table = (JOINTS, *ACTIONS) if wanted.has_joint_actions else ACTIONS
    action_parts = _parts(source, "action", table, wanted.action_keys, actions, wanted.robot_dim)
    masked = dict.fromkeys(wanted.cameras, "masked: the source has no camera for it")
    masked |= {slot: "masked, as --camera says" for slot, told in wanted.camera_overrides.items() if told == NONE}
    mapped = [f"{slot} is {found.get(slot, masked[slot])}" for slot in wanted.cameras]
    mapped.append("state is " + (_listed(state_parts, state) or _absent("state", wanted.state_keys)))
    why = ""
    if wanted.has_joint_actions and not wanted.action_keys:
        why = ", since the policy acts in joint positions" if action_parts == JOINTS else why
        why = ", although the policy acts in joint positions" if "joint_velocity" in action_parts else why
    mapped.append("true actions are " + (_listed(action_parts, actions) or _absent("action", wanted.action_keys)) + why)
    return Chosen(found, state_parts, action_parts, tuple(mapped))


def lacking(chosen: Chosen, cameras: Collection[str], where: Path) -> str | None:
    """Why an episode of these `cameras` cannot give what was chosen for all of its source; None if it can."""
    missing = next((name for name in chosen.cameras.values() if name not in cameras), None)
    return None if missing is None else f"there is no camera {missing} in {where}; it has {', '.join(cameras)}"


def _cameras(source: str, wanted: SourceOptions, cameras: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    listed = ", ".join(cameras) or "none"
    for slot in wanted.camera_overrides:
        if wanted.cameras and slot not in wanted.cameras:
            raise UserError(f"the policy has no camera {slot!r} to choose for; it has {', '.join(wanted.cameras)}")
    found: dict[str, str] = {}
    missing = []
    for slot in wanted.cameras:
        told = wanted.camera_overrides.get(slot)
        if told is not None and told not in cameras:
            if told in aliases:
                told = aliases[told]
            elif told == NONE:
                continue
            else:
                raise UserError(f"there is no camera {told!r} in {source}; it has {listed}")
        name = told or next((name for name in (slot, *CAMERAS.get(slot, ())) if name in cameras), None)
        if name is None:
            missing.append(slot)
        else:
            found[slot] = name
    left = [name for name in cameras if name not in found.values()]
    for slot in missing:
        # A robot with one arm has no right wrist; any other camera that is not found may only have another name.
        if left and slot != RIGHT_WRIST:
            raise UserError(
                f"none of the cameras of {source} is known to be the policy's {slot}; choose one of {listed} with "
                f'--camera "{slot}=NAME", or --camera "{slot}={NONE}" to go without'
            )
    if wanted.cameras and not found:
        raise UserError(f"{source} has no camera that the policy could be shown")
    return found


def _parts(
    source: str,
    what: str,
    table: Sequence[tuple[str, ...]],
    told: tuple[str, ...],
    there: Mapping[str, int],
    length: int | None,
) -> tuple[str, ...]:
    listed = _listed(tuple(there), there) or "none"
    if told == (NONE,):
        return ()
    for name in told:
        if name not in there:
            raise UserError(f"there is no {what} part {name!r} in {source}; it has {listed}")
    if told:
        total = sum(there[name] for name in told)
        if length not in (None, total):
            raise UserError(
                f"--{what}-keys {','.join(told)} gives {total} numbers, but the policy's {what} has {length}; "
                f"{source} has {listed}"
            )
        return told
    known = [parts for parts in table if all(part in there for part in parts)]
    for parts in known:
        if length is None or sum(there[part] for part in parts) == length:
            return parts
    if length is not None and there:
        without = f" (--{what}-keys {NONE} goes without)" if what == "action" else ""
        raise UserError(
            f"the policy's {what} has {length} numbers, but {source} has {listed}: it is of another robot, or its "
            f"parts have to be named with --{what}-keys{without}"
        )
    return ()


def _absent(what: str, told: tuple[str, ...]) -> str:
    return f"left out, as --{what}-keys says" if told == (NONE,) else "not there"


def _listed(parts: tuple[str, ...], lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{part} ({lengths[part]})" for part in parts)
