"""Read the settings of openpi's checkpoints (converted PyTorch folders, JAX folders) and of the demo policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from capture.checkpoints.norm_stats import (
    ACTION,
    FILE,
    STATE,
    Statistic,
    choose_asset,
    find_assets,
    make_normaliser,
    read_statistics,
    resolve_statistics,
)
from capture.checkpoints.openpi_configs import (
    CONFIGS,
    OpenpiConfig,
    config_of_asset,
    config_of_folder,
    find_config,
)
from capture.checkpoints.options import MOST_STEPS, CheckpointOptions, check_cameras
from capture.checkpoints.settings import (
    DELTA,
    STATISTICS,
    Settings,
    assume,
    conclude,
    count_robot_dims,
    decide_denoise_steps,
    decide_relative,
    leave_unnormalised,
)
from capture.errors import UserError
from capture.json_fields import JsonObject
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST
from capture.policies.pi05.preprocessing import Normaliser, NormaliserMode, Preprocessing
from capture.policies.pi05.prompt import MAX_TOKENS
from capture.provenance import Decision

CONFIG: Final = "openpi configuration"
"""Subject of the decision about the training configuration."""

_UNKNOWN = OpenpiConfig("", 0, None, None, None, cameras=(EXTERIOR, WRIST, RIGHT_WRIST))
"""Assumed if the configuration is unknown: Pi0.5's defaults."""


def openpi_settings(
    folder: Path,
    parts: Sequence[str],
    config: JsonObject,
    options: CheckpointOptions,
    *,
    action_dim: int,
) -> Settings:
    """Return the settings of an openpi checkpoint.

    `folder`: the parent of `assets/`. `parts`: the parts of its path. `config`: its config.json, overridden by the
    sizes in `options`. Raises UserError if neither a file nor an option gives the horizon or the normalisation.
    """
    decisions: list[Decision] = []
    training_config = find_config(options.config) if options.config else config_of_folder(parts)
    if training_config is not None:
        reason = "by --config" if options.config else "by the name of its folder; --config names another"
        decisions.append(Decision(CONFIG, training_config.name, reason, is_certain=bool(options.config)))
    asset_id, where, stats = _find_statistics(
        folder, training_config.asset_id if training_config else None, options, decisions
    )
    if training_config is None and asset_id is not None and (training_config := config_of_asset(asset_id)):
        decisions.append(assume(CONFIG, training_config.name, f"by its asset id {asset_id}; --config names another"))
    if training_config is None:
        reason = f"nothing names it; give --config if it was trained as one of {', '.join(CONFIGS)}"
        decisions.append(assume(CONFIG, "unknown, so Pi0.5's defaults are taken", reason))
    settings = _make_settings(
        training_config or _UNKNOWN, config, stats, where, options, decisions, action_dim=action_dim
    )
    if training_config is not None and not options.config and settings.horizon != training_config.horizon:
        differs = assume(
            "horizon",
            str(settings.horizon),
            f"{training_config.name} has {training_config.horizon}; give --config if it was fine-tuned as another one, "
            "or --relative-actions if its actions are relative to the state",
        )
        settings = replace(settings, decisions=(*settings.decisions, differs))
    return settings


def demo_settings(folder: Path, config: JsonObject, options: CheckpointOptions, *, action_dim: int) -> Settings:
    """Return the settings of the demo policy, whose config.json states what openpi defines in code."""
    robot_dim, state_dim = config.integer("robot_dim"), config.integer("state_dim")
    state_in_prompt = config.flag("state_in_prompt")
    cameras = config.texts("cameras") or (EXTERIOR, WRIST)
    check_cameras(cameras, config.where)
    training_config = OpenpiConfig(
        name="demo",
        horizon=0,
        asset_id=config.text("asset_id"),
        robot_dim=robot_dim,
        state_dim=state_dim,
        state_in_prompt=state_in_prompt is not False,
        relative=(True,) * (config.integer("delta_dims", least=0) or 0),
        cameras=cameras,
        origin="by its config.json",
    )
    decisions: list[Decision] = []
    _, where, stats = _find_statistics(folder, training_config.asset_id, options, decisions)
    return _make_settings(training_config, config, stats, where, options, decisions, action_dim=action_dim)


def _make_settings(
    training_config: OpenpiConfig,
    config: JsonObject,
    stats: dict[str, Statistic],
    where: str,
    options: CheckpointOptions,
    decisions: list[Decision],
    *,
    action_dim: int,
) -> Settings:
    horizon = options.horizon or config.integer("action_horizon", most=MOST_STEPS)
    if horizon is None:
        horizon = training_config.horizon
        decisions.append(
            assume("horizon", str(horizon), f"that of openpi's {training_config.name}; --horizon sets another")
        )
    if not horizon:
        raise UserError(
            f"nothing tells how many actions {where} predicts at once: give --horizon, or --config with one of "
            f"{', '.join(CONFIGS)}"
        )
    state_in_prompt = _decide_state_in_prompt(training_config, options, decisions)
    state, action = _make_normalisers(
        training_config, stats, where, options, decisions, state_in_prompt=state_in_prompt
    )
    state_dim = training_config.state_dim
    if state_dim and state and state.dims is not None and state.dims < state_dim:
        reason = f"as many numbers as its statistics have, where {training_config.name} has {state_dim}"
        decisions.append(assume("length of the state", str(state.dims), reason))
        state_dim = state.dims
    robot_dim = training_config.robot_dim
    # The statistics override an inferred configuration, but not one that the user named.
    if robot_dim is None or ((action.filled_dims or action_dim) < robot_dim and not options.config):
        robot_dim = count_robot_dims(action, None, action_dim, decisions)
    relative = training_config.relative if robot_dim is None else training_config.relative[:robot_dim]
    reason = training_config.reason if training_config.name else "Pi0.5's default; --relative-actions 7,-1 sets others"
    if options.normalisation == "none" and any(relative) and options.relative_actions is None:
        choice = "predicted relative to the state, and given so"
        decisions.append(assume(DELTA, choice, f"{reason}; without statistics nothing can be added to them"))
        relative = ()
    else:
        relative = decide_relative(options, relative, reason, decisions, is_certain=bool(training_config.name))
    if training_config.note:
        decisions.append(assume("units of states and actions", training_config.units, training_config.note))
    preprocessing = Preprocessing(
        resize="pil",
        slots=options.cameras or training_config.cameras,
        state_in_prompt=state_in_prompt,
        pad_state_to=None,
        state=state,
        action=action,
        robot_dim=min(robot_dim or action_dim, action_dim),
        relative=relative,
        max_tokens=config.integer("max_token_len") or MAX_TOKENS,
        turned=options.turned,
        time_grid="openpi",
        state_dim=state_dim,
        max_state_dim=action_dim if state_dim is None else None,
        has_robot_units=robot_dim is not None and options.normalisation != "none",
    )
    stated_steps = config.integer("denoise_steps", most=MOST_STEPS) or config.integer("num_steps", most=MOST_STEPS)
    steps = decide_denoise_steps(options, stated_steps, "by config.json", decisions)
    return Settings(preprocessing, horizon, steps, tuple(decisions))


def _decide_state_in_prompt(
    training_config: OpenpiConfig, options: CheckpointOptions, decisions: list[Decision]
) -> bool:
    in_prompt = training_config.state_in_prompt if options.state_in_prompt is None else options.state_in_prompt
    if options.state_in_prompt is not None:
        reason, is_certain = "by --state-in-prompt", True
    elif training_config.name:
        reason, is_certain = training_config.reason, True
    else:
        reason, is_certain = "Pi0.5's default; --state-in-prompt no for policies without discrete_state_input", False
    decisions.append(Decision("state in the prompt", "yes" if in_prompt else "no", reason, is_certain))
    return in_prompt


def _make_normalisers(
    training_config: OpenpiConfig,
    stats: dict[str, Statistic],
    where: str,
    options: CheckpointOptions,
    decisions: list[Decision],
    *,
    state_in_prompt: bool,
) -> tuple[Normaliser | None, Normaliser]:
    if options.normalisation == "none":
        return leave_unnormalised(decisions)
    mode: NormaliserMode = "openpi_mean_std" if options.normalisation == "mean-std" else "openpi_quantile"
    choice = options.normalisation or "quantile"
    if options.normalisation is not None:
        decisions.append(conclude("state and action normalisation", choice, "by --normalisation"))
    else:
        reason = (
            training_config.reason
            if training_config.name
            else "Pi0.5's default; --normalisation mean-std or none sets another"
        )
        if training_config.origin:  # what states its other values does not state this one
            reason = "Pi0.5's own, and its statistics have quantiles"
        decisions.append(
            Decision("state and action normalisation", choice, reason, is_certain=bool(training_config.name))
        )
    action = make_normaliser(mode, stats.get(ACTION), "action", where)
    state = None
    if state_in_prompt or STATE in stats:
        state = make_normaliser(mode, stats.get(STATE), "state", where)
    return state, action


def _find_statistics(
    folder: Path, usual: str | None, options: CheckpointOptions, decisions: list[Decision]
) -> tuple[str | None, str, dict[str, Statistic]]:
    """Return asset id, file and content of the statistics to use."""
    if options.normalisation == "none":
        return options.asset_id, str(folder), {}
    if options.norm_stats is not None:
        asset_id, file = resolve_statistics(options.norm_stats, options.asset_id, usual)
        decisions.append(conclude(STATISTICS, str(file), "by --norm-stats"))
        return asset_id, str(file), read_statistics(file)
    # openpi's converter writes assets/ beside the folder or does not write it.
    for assets_folder in (folder / "assets", folder, folder.parent / "assets", folder.parent.parent / "assets"):
        assets = find_assets(assets_folder)
        asset_id = choose_asset(assets, options.asset_id, usual, str(assets_folder)) if assets else None
        if asset_id is None:
            continue
        file = assets[asset_id]
        reason = "the checkpoint's own" if assets_folder.name == "assets" else "the only ones, though not below assets/"
        if assets_folder not in (folder / "assets", folder):
            reason = "they lie outside the checkpoint's folder; --norm-stats names others"
        is_own = assets_folder == folder / "assets"
        if is_own and len(assets) > 1:
            reason = f"{'by --asset' if options.asset_id else f'the asset of {usual}'}, of {len(assets)}"
        decisions.append(Decision(STATISTICS, str(file), reason, is_certain=is_own))
        if usual is not None and asset_id not in (usual, options.asset_id):
            reason = f"the only asset there, where {usual} was expected; --norm-stats names another file"
            decisions.append(assume("asset of the statistics", asset_id, reason))
        return asset_id, str(file), read_statistics(file)
    raise UserError(
        f"{folder} holds no {FILE}, neither below assets/ nor elsewhere, without which states and actions cannot be "
        "normalised; give the file that belongs to the checkpoint with --norm-stats, or look at its attention without "
        "robot units by --normalisation none"
    )
