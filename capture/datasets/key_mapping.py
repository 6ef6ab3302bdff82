"""Map a source's cameras, state parts and action parts to the policy's, by tables of names or by the user's choice.

The names are those of DROID (its raw files, openpi's and lerobot's conversions), of LIBERO (its HDF5 files, openpi's
and lerobot's conversions), of robomimic and of ALOHA's files and data sets. The user has to choose among other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capture.datasets.base import SourceOptions
from capture.errors import UserError
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST
from capture.provenance import Decision

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
"""Policy camera -> names of it in sources; the first one present is taken."""

STATES: Final = (
    ("joint_position", "gripper_position"),
    ("ee_pos", "ee_ori", "gripper_states"),
    ("ee_states", "gripper_states"),
    ("robot0_eef_pos", "robot0_eef_axis_angle", "robot0_gripper_qpos"),
    ("qpos",),
    ("state",),
)
"""State parts in the policy's order; the first entry that is present and has the policy's length is taken."""

SAME: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("ee_pos", "ee_ori", "gripper_states"): ("ee_states", "gripper_states")
}
"""State parts -> other parts with the same numbers."""

ACTIONS: Final = (("joint_velocity", "gripper_position"), ("actions",), ("action",))
"""Action parts, chosen likewise. DROID's policies act in joint velocities and gripper positions."""

JOINT_ACTIONS: Final = ("joint_position", "gripper_position")
"""Action parts of policies that act in joint positions, such as openpi's `pi05_full_droid_finetune`."""

NONE: Final = "none"
"""The user's choice to leave out a camera or the true actions."""


@dataclass(frozen=True)
class KeyMapping:
    """The cameras and parts of a source that a policy gets."""

    cameras: Mapping[str, str]
    """Policy camera -> camera of the source; cameras that are left out have no entry."""
    state: tuple[str, ...]
    """State parts in order; empty for none."""
    actions: tuple[str, ...]
    """Action parts in order; empty for none."""
    decisions: tuple[Decision, ...]
    """One for each camera slot, one for the state and one for the true actions."""
    episode_decisions: tuple[Decision, ...] = ()
    """Where one episode lacks a camera of the others: which it gets instead."""


def map_keys(
    source: str,
    options: SourceOptions,
    cameras: Sequence[str],
    *,
    state: Mapping[str, int],
    actions: Mapping[str, int],
    aliases: Mapping[str, str] | None = None,
) -> KeyMapping:
    """Map a source with these cameras and parts (name -> length) to what `options` asks for.

    `source` names it in error messages; `aliases` are further names that the user may give a camera. Raises UserError
    for a chosen name that does not exist, for cameras whose names are not in the table, and for a source of another
    robot.
    """
    cameras_by_slot = _map_cameras(source, options, cameras, aliases or {})
    state_dim = options.state_dim
    if options.padded_state_dim is not None and not _has_state(options.state_keys, state, state_dim):
        is_padded = _has_state(options.state_keys, state, options.padded_state_dim)
        state_dim = options.padded_state_dim if is_padded else state_dim
    state_parts = _choose_parts(source, "state", STATES, options.state_keys, state, state_dim)
    table = (JOINT_ACTIONS, *ACTIONS) if options.has_joint_actions else ACTIONS
    action_parts = _choose_parts(source, "action", table, options.action_keys, actions, options.robot_dim)
    decisions = (
        *(_explain_camera(slot, options, cameras, cameras_by_slot, aliases or {}) for slot in options.cameras),
        _explain_parts("state", STATES, options.state_keys, state, state_dim, state_parts),
        _explain_actions(options, table, actions, action_parts),
    )
    return KeyMapping(cameras_by_slot, state_parts, action_parts, decisions)


def _explain_camera(
    slot: str,
    options: SourceOptions,
    cameras: Sequence[str],
    cameras_by_slot: Mapping[str, str],
    aliases: Mapping[str, str],
) -> Decision:
    subject, choice = f"{slot} camera", cameras_by_slot.get(slot, "masked")
    if slot in options.camera_overrides:
        return Decision(subject, choice, "by --camera", is_certain=True)
    unmapped = [name for name in cameras if name not in cameras_by_slot.values()]
    if slot not in cameras_by_slot and unmapped:
        reason = f'none of {", ".join(unmapped)} is known to be this camera; --camera "{slot}=NAME" takes one'
        return Decision(subject, choice, reason, is_certain=False)
    if slot not in cameras_by_slot:
        return Decision(subject, choice, "the source has no camera for it", is_certain=True)
    if slot in options.renamed_cameras:
        return Decision(subject, choice, "by the checkpoint's rename_map", is_certain=True)
    feature = options.camera_features.get(slot)
    if feature and _find_camera(feature, cameras, aliases) == choice:
        return Decision(subject, choice, f"the checkpoint's {feature}", is_certain=True)
    known_names = [name for name in (slot, *CAMERAS.get(slot, ())) if name in unmapped]
    if not known_names:
        return Decision(subject, choice, "the only camera with a name known for this slot", is_certain=True)
    reason = (
        f'the first of the names known for this slot; --camera "{slot}=NAME" takes another of {", ".join(known_names)}'
    )
    return Decision(subject, choice, reason, is_certain=False)


def _explain_parts(
    subject: str,
    table: Sequence[tuple[str, ...]],
    chosen: tuple[str, ...],
    available: Mapping[str, int],
    length: int | None,
    parts: tuple[str, ...],
) -> Decision:
    option = f"--{subject.removeprefix('true ').removesuffix('s')}-keys"
    listed = _list_parts(parts, available) or "none"
    if chosen:
        return Decision(subject, listed, f"by {option}", is_certain=True)
    if not parts:
        reason = f"the source has none with a known name; {option} names them" if available else "the source has none"
        return Decision(subject, listed, reason, is_certain=not available)
    candidates = [
        candidate
        for candidate in table
        if _fits(candidate, available, length) and (candidate == parts or candidate != SAME.get(parts))
    ]
    if len(candidates) == 1:
        return Decision(subject, listed, "the only parts with known names and a fitting length", is_certain=True)
    alternatives = " or ".join(_list_parts(candidate, available) for candidate in candidates if candidate != parts)
    return Decision(
        subject, listed, f"the first known; {option} takes others, such as {alternatives}", is_certain=False
    )


def _explain_actions(
    options: SourceOptions, table: Sequence[tuple[str, ...]], available: Mapping[str, int], parts: tuple[str, ...]
) -> Decision:
    subject, listed = "true actions", _list_parts(parts, available)
    if options.action_keys == (NONE,) and options.robot_dim is None:
        return Decision(subject, "none", "the policy's actions are not in robot units", is_certain=True)
    if options.has_joint_actions and not options.action_keys:
        if parts == JOINT_ACTIONS:
            return Decision(subject, listed, "the policy acts in joint positions", is_certain=True)
        if "joint_velocity" in parts:
            reason = "the policy acts in joint positions, which the source lacks; --action-keys takes others"
            return Decision(subject, listed, reason, is_certain=False)
    return _explain_parts(subject, table, options.action_keys, available, options.robot_dim, parts)


def _map_cameras(
    source: str, options: SourceOptions, cameras: Sequence[str], aliases: Mapping[str, str]
) -> dict[str, str]:
    listed = ", ".join(cameras) or "none"
    for slot in options.camera_overrides:
        if options.cameras and slot not in options.cameras:
            raise UserError(f"the policy has no camera {slot!r}; it has {', '.join(options.cameras)}")
    cameras_by_slot: dict[str, str] = {}
    missing = []
    for slot in options.cameras:
        choice = options.camera_overrides.get(slot)
        if choice is not None and choice not in cameras:
            if choice in aliases:
                choice = aliases[choice]
            elif choice == NONE:
                continue
            else:
                raise UserError(f"there is no camera {choice!r} in {source}; it has {listed}")
        name = choice or _find_trained_camera(source, options, slot, cameras, aliases)
        if name is None and slot not in options.renamed_cameras:
            renamed = [_find_camera(key, cameras, aliases) for keys in options.renamed_cameras.values() for key in keys]
            known_names = (name for name in (slot, *CAMERAS.get(slot, ())) if name in cameras and name not in renamed)
            name = next(known_names, None)
        if name is None:
            missing.append(slot)
        else:
            cameras_by_slot[slot] = name
    unmapped = [name for name in cameras if name not in cameras_by_slot.values()]
    for slot in missing:
        # A robot with one arm has no right wrist; for any other slot the camera may only have an unknown name.
        if unmapped and slot != RIGHT_WRIST:
            raise UserError(
                f"none of the cameras of {source} is known to be the policy's {slot}; choose one of {listed} with "
                f'--camera "{slot}=NAME", or --camera "{slot}={NONE}" to go without'
            )
    if options.cameras and not cameras_by_slot:
        raise UserError(f"{source} has no camera for the policy; it has {listed}")
    return cameras_by_slot


def _find_trained_camera(
    source: str, options: SourceOptions, slot: str, cameras: Sequence[str], aliases: Mapping[str, str]
) -> str | None:
    """Return the source's camera that the checkpoint names for `slot`; None where it names none of them.

    A renaming that the checkpoint states is binding: raises UserError where the source lacks every camera of it. As in
    lerobot, a camera that already has the new name needs no renaming.
    """
    feature = options.camera_features.get(slot)
    renamed = options.renamed_cameras.get(slot, ())
    for key in (*renamed, *([feature] if feature else [])):
        if name := _find_camera(key, cameras, aliases):
            return name
    if renamed:
        raise UserError(
            f"the checkpoint's rename_map feeds its {slot} from {' or '.join(renamed)}, which {source} lacks; choose "
            f'one of {", ".join(cameras) or "none"} with --camera "{slot}=NAME", or --camera "{slot}={NONE}" to go '
            "without"
        )
    return None


def _find_camera(key: str, cameras: Sequence[str], aliases: Mapping[str, str]) -> str | None:
    """Return the source's camera with a lerobot key such as `observation.images.top`, or None."""
    if key in cameras:
        return key
    bare = key.removeprefix("observation.").removeprefix("images.").removeprefix("image.")
    return aliases.get(key) or (bare if bare in cameras else None)


def _choose_parts(
    source: str,
    noun: str,
    table: Sequence[tuple[str, ...]],
    chosen: tuple[str, ...],
    available: Mapping[str, int],
    length: int | None,
) -> tuple[str, ...]:
    listed = _list_parts(tuple(available), available) or "none"
    if chosen == (NONE,):
        return ()
    for name in chosen:
        if name not in available:
            raise UserError(f"there is no {noun} part {name!r} in {source}; it has {listed}")
    if chosen:
        total = sum(available[name] for name in chosen)
        if length not in (None, total):
            raise UserError(
                f"--{noun}-keys {','.join(chosen)} gives {total} numbers, but the policy's {noun} has {length}; "
                f"{source} has {listed}"
            )
        return chosen
    for parts in table:
        if _fits(parts, available, length):
            return parts
    if length is not None and available:
        without = f" (--{noun}-keys {NONE} goes without)" if noun == "action" else ""
        raise UserError(
            f"the policy's {noun} has {length} numbers, but {source} has {listed}: it is of another robot, or its "
            f"parts have to be named with --{noun}-keys{without}"
        )
    return ()


def _fits(parts: tuple[str, ...], available: Mapping[str, int], length: int | None) -> bool:
    """Return whether the source has all of these parts, of `length` numbers together."""
    total = sum(available.get(part, 0) for part in parts)
    return all(part in available for part in parts) and length in (None, total)


def _has_state(chosen: tuple[str, ...], available: Mapping[str, int], length: int | None) -> bool:
    """Return whether some state of `length` numbers is among the source's parts, the chosen ones if there are any."""
    if chosen:
        return sum(available.get(part, 0) for part in chosen) == length
    return any(_fits(parts, available, length) for parts in STATES)


def _list_parts(parts: tuple[str, ...], lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{part} ({lengths[part]})" for part in parts)
