"""Read lerobot's settings from config.json, the saved processors and their statistics files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capture.checkpoints.norm_stats import (
    ACTION,
    STATE,
    Statistic,
    make_normaliser,
    read_statistics,
    read_tensors,
    resolve_statistics,
)
from capture.checkpoints.options import MOST_STEPS, CheckpointOptions, check_cameras
from capture.checkpoints.settings import (
    DELTA,
    STATISTICS,
    CameraNames,
    Settings,
    assume,
    conclude,
    count_robot_dims,
    decide_denoise_steps,
    decide_relative,
    leave_unnormalised,
)
from capture.errors import UserError
from capture.json_fields import JsonObject, is_safe_relative_path, read_json
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST
from capture.policies.pi05.preprocessing import Normaliser, NormaliserMode, Preprocessing
from capture.policies.pi05.prompt import MAX_TOKENS
from capture.provenance import Decision
from capture.results.schema import MODEL_PIXELS

PREPROCESSOR: Final = "policy_preprocessor.json"
POSTPROCESSOR: Final = "policy_postprocessor.json"

_PICTURES: Final = "observation.images."
_EMPTY: Final = "empty_camera_"
_OPENPI_SLOTS: Final = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")

_MODES: Final[dict[str, NormaliserMode]] = {
    "QUANTILES": "quantile",
    "MEAN_STD": "mean_std",
    "MIN_MAX": "min_max",
    "QUANTILE10": "quantile10",
    "IDENTITY": "identity",
}

_HANDLED: Final = {
    "rename_observations_processor",
    "to_batch_processor",
    "relative_actions_processor",
    "normalizer_processor",
    "pi05_prepare_state_tokenizer_processor_step",
    "tokenizer_processor",
    "device_processor",
    "unnormalizer_processor",
    "absolute_actions_processor",
}
"""Processor steps that are implemented here or have no effect at inference."""

_SINCE_05: Final = ("use_relative_actions", "use_visual_memory", "rtc_training_max_delay", "pretrained_revision")
"""Fields of config.json that exist since lerobot 0.5.1 or later."""


def lerobot_settings(
    folder: Path, config: JsonObject, options: CheckpointOptions, *, tied: bool, action_dim: int
) -> Settings:
    """Return the settings of a folder that lerobot saved.

    `tied`: how its text embedding is stored (`key_names.Renamed.tied_by_lerobot`). Raises UserError for unsupported
    variants and for missing statistics.
    """
    _refuse_variants(config)
    decisions: list[Decision] = []
    before, after = _steps(folder / PREPROCESSOR), _steps(folder / POSTPROCESSOR)
    for step in sorted({*before, *after} - _HANDLED):
        decisions.append(assume("processor steps", f"{step!r} is not applied", "this program does not know it"))
    names = _FeatureNames(
        _find_feature(config, "input_features", "STATE", "observation.state"),
        _find_feature(config, "output_features", "ACTION", "action"),
    )
    state, action = _normalisers(folder, config, before, after, options, names, decisions)
    old = _trained_with_04(folder, config, options, decisions, tied=tied)
    tokenizer = before.get("tokenizer_processor", _NOTHING)
    slots, cameras = _cameras(config, before, options, decisions)
    # lerobot/pi05_base declares the model's own sizes, which policies fine-tuned from it keep whatever their robot has.
    most_state, most_action = config.integer("max_state_dim") or 32, config.integer("max_action_dim") or action_dim
    declared_state = _shape(config, "input_features", names.state)
    declared_action = _shape(config, "output_features", names.action)
    robot_dim = count_robot_dims(
        action, None if declared_action == most_action else declared_action, action_dim, decisions
    )
    state_dim = None if state.dims or declared_state == most_state else declared_state
    preprocessing = Preprocessing(
        resize="torch_0.4" if old else "torch",
        slots=slots,
        state_in_prompt=_decide_state_in_prompt(before, options, decisions),
        pad_state_to=most_state if old else None,
        state=state,
        action=action,
        robot_dim=robot_dim or action_dim,
        relative=_relative_actions(config, before, options, robot_dim, state.dims or state_dim, decisions),
        max_tokens=tokenizer.integer("max_length") or config.integer("tokenizer_max_length") or MAX_TOKENS,
        turned=options.turned,
        time_grid="lerobot",
        state_dim=state_dim,
        max_state_dim=most_state,
        has_robot_units=robot_dim is not None and options.normalisation != "none",
    )
    horizon = options.horizon or config.integer("chunk_size", most=MOST_STEPS)
    if horizon is None:
        raise UserError(f"{config.where} has no 'chunk_size', the number of actions predicted at once; give --horizon")
    stated = config.integer("num_inference_steps", most=MOST_STEPS)
    steps = decide_denoise_steps(options, stated, "num_inference_steps in config.json", decisions)
    return Settings(preprocessing, horizon, steps, tuple(decisions), cameras)


@dataclass(frozen=True)
class _FeatureNames:
    """Names of the state and the action in config.json and in the statistics."""

    state: str
    action: str


def _find_feature(config: JsonObject, group: str, kind: str, usual: str) -> str:
    """Return the name of the only feature of a kind, or `usual` if that is present or there are several."""
    features = config.section(group) or _NOTHING
    found = [name for name in features.values if (features.section(name) or _NOTHING).text("type") == kind]
    return found[0] if usual not in features.values and len(found) == 1 else usual


def _decide_state_in_prompt(
    before: Mapping[str, JsonObject], options: CheckpointOptions, decisions: list[Decision]
) -> bool:
    subject = "state in the prompt"
    if options.state_in_prompt is not None:
        decisions.append(conclude(subject, "yes" if options.state_in_prompt else "no", "by --state-in-prompt"))
        return options.state_in_prompt
    stated = before.get("pi05_prepare_state_tokenizer_processor_step", _NOTHING).flag("include_state_in_prompt")
    if stated is False:
        raise UserError(
            f"{PREPROCESSOR} sets include_state_in_prompt to false, so that the policy reads the state in another way "
            "than Pi0.5; this program does not run it"
        )
    decisions.append(conclude(subject, "yes", "as in all of lerobot's Pi0.5 policies"))
    return True


def _relative_actions(
    config: JsonObject,
    before: Mapping[str, JsonObject],
    options: CheckpointOptions,
    robot_dim: int | None,
    state_dim: int | None,
    decisions: list[Decision],
) -> tuple[bool, ...]:
    """Return which actions are relative to the state, by the saved processor or else by config.json.

    As in lerobot, joints are left out by the names of the action's dimensions, and none where these are unknown.
    """
    step = before.get("relative_actions_processor")
    enabled = config.flag("use_relative_actions") if step is None else step.flag("enabled")
    where = PREPROCESSOR if step is not None else "config.json"
    if options.relative_actions is not None or not enabled:
        reason = f"use_relative_actions is not set in {where}"
        return decide_relative(options, (), reason, decisions, is_certain=True)
    step = step or JsonObject(
        {
            "exclude_joints": config.values.get("relative_exclude_joints"),
            "action_names": config.values.get("action_feature_names"),
        },
        config.where,
    )
    names = step.texts("action_names")
    excluded = [joint.lower() for joint in step.texts("exclude_joints") or () if joint]
    if robot_dim is None or options.normalisation == "none":
        choice = "predicted relative to the state, and given so"
        decisions.append(assume(DELTA, choice, f"{where} says so; without statistics nothing can be added to them"))
        return ()
    mask = [not any(joint in name.lower() for joint in excluded) for name in (names or ())[:robot_dim]]
    mask += [True] * (robot_dim - len(mask))
    needed = max((dim + 1 for dim, is_relative in enumerate(mask) if is_relative), default=0)
    if state_dim is not None and state_dim < needed:
        choice = "predicted relative to the state, and given so"
        reason = f"{where} says so; the state's {state_dim} numbers are too few to be added to {needed} actions"
        decisions.append(assume(DELTA, choice, reason))
        return ()
    reason = f"use_relative_actions in {where}"
    if excluded and not names:
        reason += ", where no names tell joints apart"
    # Not certain, so that a run says it: the actions of the policy itself are other numbers than those stored.
    reason += "; --relative-actions none leaves them as predicted"
    return decide_relative(options, tuple(mask), reason, decisions, is_certain=False)


_NOTHING: Final = JsonObject({}, "")


def _refuse_variants(config: JsonObject) -> None:
    for key in ("use_visual_memory", "use_proprioceptive_memory"):
        if config.flag(key):
            raise UserError(
                f"{config.where} sets {key!r}: a memory (MEM) variant of Pi0.5; this program runs Pi0.5 without "
                "memory only"
            )
    size = config.numbers("image_resolution")
    if size is not None and size != (MODEL_PIXELS, MODEL_PIXELS):
        raise UserError(
            f"{config.where} asks for pictures of {' x '.join(f'{side:g}' for side in size)} pixels; this program runs "
            f"Pi0.5 at {MODEL_PIXELS} x {MODEL_PIXELS} only"
        )


def _steps(path: Path) -> dict[str, JsonObject]:
    """Return the steps of a saved processor: name -> configuration, with the step's `state_file` added."""
    if not path.is_file():
        return {}
    found = {}
    for step in read_json(path).sections("steps") or ():
        name = step.text("registry_name") or (step.text("class") or "").rpartition(".")[2]
        inside = step.section("config") or _NOTHING
        found[name] = JsonObject({**inside.values, "state_file": step.text("state_file")}, f"{path}, {name!r}")
    return found


def _normalisers(
    folder: Path,
    config: JsonObject,
    before: Mapping[str, JsonObject],
    after: Mapping[str, JsonObject],
    options: CheckpointOptions,
    names: _FeatureNames,
    decisions: list[Decision],
) -> tuple[Normaliser, Normaliser]:
    if options.normalisation == "none":
        return leave_unnormalised(decisions)
    normaliser, unnormaliser = before.get("normalizer_processor"), after.get("unnormalizer_processor")
    saved = (normaliser or _NOTHING).section("norm_map")
    mapping = saved or config.section("normalization_mapping") or _NOTHING
    output_mapping = (unnormaliser or _NOTHING).section("norm_map") or mapping
    if options.norm_stats is not None:
        _, file = resolve_statistics(options.norm_stats, None, None)
        found, where = read_statistics(file), str(file)
        state, action = found.get(STATE), found.get(ACTION)
        decisions.append(conclude(STATISTICS, where, "by --norm-stats"))
    else:
        where = str(folder)
        inputs, outputs = _tensors(folder, normaliser), _tensors(folder, unnormaliser)
        state, action = inputs.get(names.state), (outputs or inputs).get(names.action)
        chosen = (normaliser or _NOTHING).texts("normalize_observation_keys")
        if chosen is not None and names.state not in chosen:
            mapping = JsonObject({**mapping.values, "STATE": "IDENTITY"}, mapping.where)
        if any(name.startswith(_PICTURES) for name in inputs) and _mode(mapping, "VISUAL", "IDENTITY") != "identity":
            raise UserError(
                f"{mapping.where} normalises pictures by statistics; this program runs policies that do not"
            )
        files = [step.text("state_file") for step in (normaliser, unnormaliser) if step is not None]
        if listed := " and ".join(dict.fromkeys(file for file in files if file)):
            decisions.append(conclude(STATISTICS, listed, "the checkpoint's own"))
    normalisers = []
    for what, of, statistic in (("state", mapping, state), ("action", output_mapping, action)):
        mode = _mode(of, what.upper())
        if options.normalisation is not None:
            mode = "quantile" if options.normalisation == "quantile" else "mean_std"
            decision = conclude(f"{what} normalisation", options.normalisation, "by --normalisation")
        elif of.text(what.upper()) is None:
            reason = "lerobot's default, since no file states it; --normalisation sets another"
            decision = assume(f"{what} normalisation", "quantile", reason)
        else:
            reason = "normalization_mapping in config.json" if saved is None else "norm_map of the saved processors"
            decision = conclude(f"{what} normalisation", mode.replace("_", "-"), reason)
        normalisers.append(make_normaliser(mode, statistic, what, where))
        decisions.append(decision)
    return normalisers[0], normalisers[1]


def _mode(mapping: JsonObject, what: str, default: str = "QUANTILES") -> NormaliserMode:
    name = mapping.text(what) or default
    if name not in _MODES:
        raise UserError(f"{mapping.where} normalises {what} by {name!r}; known are {', '.join(_MODES)}")
    return _MODES[name]


def _tensors(folder: Path, step: JsonObject | None) -> dict[str, Statistic]:
    name = step.text("state_file") if step else None
    if not name:
        return {}
    if not is_safe_relative_path(name):
        raise UserError(
            f"{step.where if step else folder} names {name!r}, which lies outside the folder; it is not read"
        )
    if not (folder / name).is_file():
        raise UserError(
            f"{folder} has no {name}, the statistics that its processor names; fetch it, or give --norm-stats"
        )
    return read_tensors(folder / name)


def _trained_with_04(
    folder: Path, config: JsonObject, options: CheckpointOptions, decisions: list[Decision], *, tied: bool
) -> bool:
    """Return whether lerobot 0.4 trained the checkpoint; it zero-padded states and padded pictures with -3.

    No file states the version. 0.5.0 changed both, and stores the text embedding beside the output head; 0.5.1 added
    fields to config.json. Weights without the prefix `model.` were converted from openpi and follow current lerobot.
    """
    if options.lerobot_version is not None:
        return options.lerobot_version == "0.4"
    if any(key in config.values for key in _SINCE_05):
        return False
    training = folder / "train_config.json"
    if training.is_file() and "cudnn_deterministic" in read_json(training).values:  # since 0.5.0
        return False
    if tied:
        decisions.append(
            assume(
                "lerobot version",
                "0.4, so states are filled with zeros and pictures with -3",
                "by how its text embedding is stored; give --lerobot-version current if that is wrong",
            )
        )
    return tied


def _cameras(
    config: JsonObject, before: Mapping[str, JsonObject], options: CheckpointOptions, decisions: list[Decision]
) -> tuple[tuple[str, ...], CameraNames]:
    """Return the names of the picture slots in config.json's order, without slots that are always masked."""
    inputs = config.section("input_features") or _NOTHING
    features = {
        feature: feature.removeprefix(_PICTURES).rpartition(".")[2].replace("/", "_")
        for feature in inputs.values
        if (inputs.section(feature) or _NOTHING).text("type") == "VISUAL"
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
    rename = before.get("rename_observations_processor", _NOTHING).section("rename_map") or _NOTHING
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


def _shape(config: JsonObject, group: str, feature: str) -> int | None:
    """Return the length of a feature; None if it is not stated."""
    shape = ((config.section(group) or _NOTHING).section(feature) or _NOTHING).numbers("shape")
    if not shape:
        return None
    if len(shape) != 1 or shape[0] != int(shape[0]) or shape[0] < 1:
        raise UserError(f"{feature!r} in {config.where} has shape {list(shape)}, but should be one list of numbers")
    return int(shape[0])
