"""Settings of a lerobot checkpoint, from config.json and its saved processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from capture.checkpoints.lerobot.cameras import name_slots
from capture.checkpoints.lerobot.normalisation import FeatureNames, make_normalisers
from capture.checkpoints.lerobot.processors import NO_VALUES, POSTPROCESSOR, PREPROCESSOR, read_steps
from capture.checkpoints.options import MOST_STEPS, CheckpointOptions
from capture.checkpoints.settings import (
    DELTA,
    Settings,
    assume,
    conclude,
    count_robot_dims,
    decide_denoise_steps,
    decide_relative,
)
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json
from capture.policies.pi05.preprocessing import Preprocessing
from capture.policies.pi05.prompt import MAX_TOKENS
from capture.provenance import Decision
from capture.results.schema import MODEL_PIXELS

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
    before_steps, after_steps = read_steps(folder / PREPROCESSOR), read_steps(folder / POSTPROCESSOR)
    for step in sorted({*before_steps, *after_steps} - _HANDLED):
        decisions.append(assume("processor steps", f"{step!r} is not applied", "this program does not know it"))
    names = FeatureNames(
        _find_feature(config, "input_features", "STATE", "observation.state"),
        _find_feature(config, "output_features", "ACTION", "action"),
    )
    state, action = make_normalisers(folder, config, before_steps, after_steps, options, names, decisions)
    is_version_04 = _is_trained_with_04(folder, config, options, decisions, tied=tied)
    tokenizer = before_steps.get("tokenizer_processor", NO_VALUES)
    slots, cameras = name_slots(config, before_steps, options, decisions)
    # lerobot/pi05_base declares the model's own sizes, which policies fine-tuned from it keep whatever their robot has.
    most_state, most_action = config.integer("max_state_dim") or 32, config.integer("max_action_dim") or action_dim
    declared_state = _read_length(config, "input_features", names.state)
    declared_action = _read_length(config, "output_features", names.action)
    robot_dim = count_robot_dims(
        action, None if declared_action == most_action else declared_action, action_dim, decisions
    )
    state_dim = None if state.dims or declared_state == most_state else declared_state
    preprocessing = Preprocessing(
        resize="torch_0.4" if is_version_04 else "torch",
        slots=slots,
        state_in_prompt=_decide_state_in_prompt(before_steps, options, decisions),
        pad_state_to=most_state if is_version_04 else None,
        state=state,
        action=action,
        robot_dim=robot_dim or action_dim,
        relative=_decide_relative_actions(config, before_steps, options, robot_dim, state.dims or state_dim, decisions),
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


def _find_feature(config: JsonObject, group: str, kind: str, usual: str) -> str:
    """Return the name of the only feature of a kind, or `usual` if that is present or there are several."""
    features = config.section(group) or NO_VALUES
    matching = [name for name in features.values if (features.section(name) or NO_VALUES).text("type") == kind]
    return matching[0] if usual not in features.values and len(matching) == 1 else usual


def _decide_state_in_prompt(
    steps: Mapping[str, JsonObject], options: CheckpointOptions, decisions: list[Decision]
) -> bool:
    subject = "state in the prompt"
    if options.state_in_prompt is not None:
        decisions.append(conclude(subject, "yes" if options.state_in_prompt else "no", "by --state-in-prompt"))
        return options.state_in_prompt
    stated = steps.get("pi05_prepare_state_tokenizer_processor_step", NO_VALUES).flag("include_state_in_prompt")
    if stated is False:
        raise UserError(
            f"{PREPROCESSOR} sets include_state_in_prompt to false, so that the policy reads the state in another way "
            "than Pi0.5; this program does not run it"
        )
    decisions.append(conclude(subject, "yes", "as in all of lerobot's Pi0.5 policies"))
    return True


def _decide_relative_actions(
    config: JsonObject,
    steps: Mapping[str, JsonObject],
    options: CheckpointOptions,
    robot_dim: int | None,
    state_dim: int | None,
    decisions: list[Decision],
) -> tuple[bool, ...]:
    """Return which actions are relative to the state, by the saved processor or else by config.json.

    As in lerobot, joints are left out by the names of the action's dimensions, and none where these are unknown.
    """
    step = steps.get("relative_actions_processor")
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


def _is_trained_with_04(
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


def _read_length(config: JsonObject, group: str, feature: str) -> int | None:
    """Return the length of a feature; None if it is not stated."""
    shape = ((config.section(group) or NO_VALUES).section(feature) or NO_VALUES).numbers("shape")
    if not shape:
        return None
    if len(shape) != 1 or shape[0] != int(shape[0]) or shape[0] < 1:
        raise UserError(f"{feature!r} in {config.where} has shape {list(shape)}, but should be one list of numbers")
    return int(shape[0])
