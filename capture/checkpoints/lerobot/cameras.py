"""Picture slots of a lerobot checkpoint, named like the cameras of a results file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capture.checkpoints.lerobot.processors import NO_VALUES, PREPROCESSOR
from capture.checkpoints.options import CheckpointOptions, check_cameras
from capture.checkpoints.settings import CameraNames, assume, conclude
from capture.json_fields import JsonObject
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST
from capture.provenance import Decision

PICTURES: Final = "observation.images."
_EMPTY: Final = "empty_camera_"
_OPENPI_SLOTS: Final = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


def name_slots(
    config: JsonObject, steps: Mapping[str, JsonObject], options: CheckpointOptions, decisions: list[Decision]
) -> tuple[tuple[str, ...], CameraNames]:
    """Return the names of the picture slots in config.json's order, without slots that are always masked."""
    inputs = config.section("input_features") or NO_VALUES
    features = {
        feature: feature.removeprefix(PICTURES).rpartition(".")[2].replace("/", "_")
        for feature in inputs.values
        if (inputs.section(feature) or NO_VALUES).text("type") == "VISUAL"
    }
    shown = {feature: last for feature, last in features.items() if not last.startswith(_EMPTY)}
    slots: list[str] = []
    for feature, last in shown.items():
        usual = name_camera(last)
        name = last if usual in slots else usual
        if name != last and options.cameras is None:
            is_slot = last in _OPENPI_SLOTS
            reason = "one of Pi0.5's slots" if is_slot else "by the feature's name; --cameras names the slots"
            decisions.append(Decision(f"{name} slot", feature, reason, is_certain=is_slot))
        slots.append(name)
    if options.cameras is not None:
        decisions.append(conclude("camera slots", ", ".join(options.cameras), "by --cameras"))
        slots = list(options.cameras)
    elif not slots:
        slots = [EXTERIOR, WRIST, RIGHT_WRIST]
        decisions.append(assume("camera slots", ", ".join(slots), "config.json names none; --cameras names them"))
    check_cameras(tuple(slots), config.where)
    slot_of = dict(zip(shown, slots, strict=False))
    rename = steps.get("rename_observations_processor", NO_VALUES).section("rename_map") or NO_VALUES
    renamed: dict[str, tuple[str, ...]] = {}
    for key in rename.values:
        target = rename.text(key) or ""
        if target in slot_of:
            renamed[slot_of[target]] = (*renamed.get(slot_of[target], ()), key)
            decisions.append(conclude(f"{slot_of[target]} slot", f"fed from {key}", f"rename_map in {PREPROCESSOR}"))
        elif target not in inputs.values:
            reason = "no input of the policy is called so"
            decisions.append(assume("rename_map", f"{key} to {target} is not applied", reason))
    return tuple(slots), CameraNames({slot: feature for feature, slot in slot_of.items()}, renamed)


def name_camera(last: str) -> str:
    """Return the name under which a camera is stored, by the last part of its feature's name."""
    if last in ("base_0_rgb", "image") or last.startswith("exterior"):
        return EXTERIOR
    if last in ("left_wrist_0_rgb", "image2") or last.startswith("wrist"):
        return WRIST
    return RIGHT_WRIST if last == "right_wrist_0_rgb" else last
