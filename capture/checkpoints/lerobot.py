"""Read lerobot's settings from config.json, the saved processors and their statistics files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from capture.checkpoints.norm_stats import (
    ACTION,
    STATE,
    Statistic,
    given_statistics,
    make_normaliser,
    read_statistics,
    read_tensors,
)
from capture.checkpoints.options import MOST_STEPS, CheckpointOptions, check_cameras
from capture.checkpoints.settings import Settings, assume
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
    if any((steps.get("relative_actions_processor") or _NOTHING).flag("enabled") for steps in (before, after)):
        raise _relative(folder)
    state, action = _normalisers(folder, config, before, after, options)
    old = _trained_with_04(folder, config, options, decisions, tied=tied)
    tokenizer = before.get("tokenizer_processor", _NOTHING)
    robot_dim = _shape(config, "output_features", "action") or action.dims or action_dim
    preprocessing = Preprocessing(
        resize="torch_0.4" if old else "torch",
        slots=options.cameras or _cameras(config, decisions),
        state_in_prompt=True if options.state_in_prompt is None else options.state_in_prompt,
        pad_state_to=(config.integer("max_state_dim") or 32) if old else None,
        state=state,
        action=action,
        robot_dim=min(robot_dim, action_dim),
        max_tokens=tokenizer.integer("max_length") or config.integer("tokenizer_max_length") or MAX_TOKENS,
        turned=options.turned,
        time_grid="lerobot",
        state_dim=None if state.dims else _shape(config, "input_features", "observation.state"),
    )
    horizon = options.horizon or config.integer("chunk_size", most=MOST_STEPS)
    if horizon is None:
        raise UserError(f"{config.where} has no 'chunk_size', the number of actions predicted at once; give --horizon")
    steps = options.denoise_steps or config.integer("num_inference_steps", most=MOST_STEPS) or 10
    return Settings(preprocessing, horizon, steps, tuple(decisions))


_NOTHING: Final = JsonObject({}, "")


def _refuse_variants(config: JsonObject) -> None:
    for key in ("use_visual_memory", "use_proprioceptive_memory"):
        if config.flag(key):
            raise UserError(
                f"{config.where} sets {key!r}: a memory (MEM) variant of Pi0.5; this program runs Pi0.5 without "
                "memory only"
            )
    if config.flag("use_peft"):
        raise UserError(
            f"{config.where} sets 'use_peft': the weights are LoRA adapters; merge them into the policy with lerobot, "
            "then give the merged folder"
        )
    if config.flag("use_relative_actions"):
        raise _relative(Path(config.where).parent)
    size = config.numbers("image_resolution")
    if size is not None and size != (MODEL_PIXELS, MODEL_PIXELS):
        raise UserError(
            f"{config.where} asks for pictures of {' x '.join(f'{side:g}' for side in size)} pixels; this program runs "
            f"Pi0.5 at {MODEL_PIXELS} x {MODEL_PIXELS} only"
        )


def _relative(folder: Path) -> UserError:
    return UserError(
        f"{folder} predicts actions relative to the state (use_relative_actions), which this program does not turn "
        "into robot units; give a policy with absolute actions"
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
) -> tuple[Normaliser, Normaliser]:
    normaliser, unnormaliser = before.get("normalizer_processor"), after.get("unnormalizer_processor")
    mapping = (normaliser or _NOTHING).section("norm_map") or config.section("normalization_mapping") or _NOTHING
    output_mapping = (unnormaliser or _NOTHING).section("norm_map") or mapping
    if options.norm_stats is not None:
        _, file = given_statistics(options.norm_stats, None, None)
        found, where = read_statistics(file), str(file)
        state, action = found.get(STATE), found.get(ACTION)
    else:
        where = str(folder)
        inputs, outputs = _tensors(folder, normaliser), _tensors(folder, unnormaliser)
        state, action = inputs.get("observation.state"), (outputs or inputs).get("action")
        chosen = (normaliser or _NOTHING).texts("normalize_observation_keys")
        if chosen is not None and "observation.state" not in chosen:
            mapping = JsonObject({**mapping.values, "STATE": "IDENTITY"}, mapping.where)
        if any(name.startswith(_PICTURES) for name in inputs) and _mode(mapping, "VISUAL", "IDENTITY") != "identity":
            raise UserError(
                f"{mapping.where} normalises pictures by statistics; this program runs policies that do not"
            )
    return (
        make_normaliser(_mode(mapping, "STATE"), state, "state", where),
        make_normaliser(_mode(output_mapping, "ACTION"), action, "action", where),
    )


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


def _cameras(config: JsonObject, decisions: list[Decision]) -> tuple[str, ...]:
    """Return the camera names of the picture slots in config.json's order, without slots that are always masked."""
    slots: list[str] = []
    features = config.section("input_features") or _NOTHING
    for feature in features.values:
        shape = (features.section(feature) or _NOTHING).text("type")
        last = feature.removeprefix(_PICTURES).rpartition(".")[2].replace("/", "_")
        if shape != "VISUAL" or last.startswith(_EMPTY):
            continue
        usual = _usual_name(last)
        name = last if usual in slots else usual
        if name != last:
            decisions.append(assume(f"{name} slot", feature, "by the feature's name; --cameras names the slots"))
        slots.append(name)
    if not slots:
        slots = [EXTERIOR, WRIST, RIGHT_WRIST]
        decisions.append(assume("camera slots", ", ".join(slots), "config.json names none; --cameras names them"))
    check_cameras(tuple(slots), config.where)
    return tuple(slots)


def _usual_name(last: str) -> str:
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
