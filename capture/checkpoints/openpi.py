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
    given_statistics,
    make_normaliser,
    read_statistics,
)
from capture.checkpoints.openpi_configs import (
    CONFIGS,
    OpenpiConfig,
    config_of_asset,
    config_of_folder,
    find_config,
)
from capture.checkpoints.options import MOST_STEPS, CheckpointOptions, check_cameras
from capture.checkpoints.settings import Settings, assume
from capture.errors import UserError
from capture.json_fields import JsonObject
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST
from capture.policies.pi05.preprocessing import Preprocessing
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
    known = find_config(options.config) if options.config else config_of_folder(parts)
    if known is not None and not options.config:
        decisions.append(assume(CONFIG, known.name, "by the name of its folder; --config names another"))
    asset_id, where, stats = _statistics(folder, known.asset_id if known else None, options, decisions)
    if known is None and asset_id is not None and (known := config_of_asset(asset_id)):
        decisions.append(assume(CONFIG, known.name, f"by its asset id {asset_id}; --config names another"))
    if known is None:
        decisions.append(
            assume(
                CONFIG,
                "unknown, so the state is put in the prompt and actions are taken as they are",
                f"nothing names it; give --config if it was trained as one of {', '.join(CONFIGS)}",
            )
        )
    settings = _settings(known or _UNKNOWN, config, stats, where, options, decisions, action_dim=action_dim)
    if known is not None and not options.config and settings.horizon != known.horizon:
        differs = assume(
            "horizon",
            str(settings.horizon),
            f"{known.name} has {known.horizon}; give --config if it was fine-tuned as another one, whose actions may "
            "be relative to the state",
        )
        settings = replace(settings, decisions=(*settings.decisions, differs))
    return settings


def demo_settings(folder: Path, config: JsonObject, options: CheckpointOptions, *, action_dim: int) -> Settings:
    """Return the settings of the demo policy, whose config.json states what openpi defines in code."""
    robot_dim, state_dim = config.integer("robot_dim"), config.integer("state_dim")
    state_in_prompt = config.flag("state_in_prompt")
    cameras = config.texts("cameras") or (EXTERIOR, WRIST)
    check_cameras(cameras, config.where)
    known = OpenpiConfig(
        name="demo",
        horizon=0,
        asset_id=config.text("asset_id"),
        robot_dim=robot_dim,
        state_dim=state_dim,
        state_in_prompt=state_in_prompt is not False,
        delta_dims=config.integer("delta_dims", least=0) or 0,
        cameras=cameras,
    )
    decisions: list[Decision] = []
    _, where, stats = _statistics(folder, known.asset_id, options, decisions)
    return _settings(known, config, stats, where, options, decisions, action_dim=action_dim)


def _settings(
    known: OpenpiConfig,
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
        horizon = known.horizon
        decisions.append(assume("horizon", str(horizon), f"that of openpi's {known.name}; --horizon sets another"))
    if not horizon:
        raise UserError(
            f"nothing tells how many actions {where} predicts at once: give --horizon, or --config with one of "
            f"{', '.join(CONFIGS)}"
        )
    state_in_prompt = known.state_in_prompt if options.state_in_prompt is None else options.state_in_prompt
    action = make_normaliser("openpi_quantile", stats.get(ACTION), "action", where)
    state = None
    if state_in_prompt or STATE in stats:
        state = make_normaliser("openpi_quantile", stats.get(STATE), "state", where)
    state_dim = known.state_dim
    if state_dim and state and state.dims is not None and state.dims < state_dim:
        reason = f"as many numbers as its statistics have, where {known.name} has {state_dim}"
        decisions.append(assume("length of the state", str(state.dims), reason))
        state_dim = state.dims
    robot_dim, counted = known.robot_dim, action.dims or action_dim
    # The statistics override an inferred configuration, but not one that the user named.
    if robot_dim is None or (counted < robot_dim and not options.config):
        robot_dim = counted
        reason = "as many as its statistics have; --config names the configuration that decides"
        decisions.append(assume("action dimensions of the robot", str(robot_dim), reason))
    if known.note:
        decisions.append(assume("units of states and actions", known.units, known.note))
    preprocessing = Preprocessing(
        resize="pil",
        slots=options.cameras or known.cameras,
        state_in_prompt=state_in_prompt,
        pad_state_to=None,
        state=state,
        action=action,
        robot_dim=min(robot_dim, action_dim),
        delta_dims=known.delta_dims,
        max_tokens=config.integer("max_token_len") or MAX_TOKENS,
        turned=options.turned,
        time_grid="openpi",
        state_dim=state_dim,
    )
    told = config.integer("denoise_steps", most=MOST_STEPS) or config.integer("num_steps", most=MOST_STEPS)
    return Settings(preprocessing, horizon, options.denoise_steps or told or 10, tuple(decisions))


def _statistics(
    folder: Path, usual: str | None, options: CheckpointOptions, decisions: list[Decision]
) -> tuple[str | None, str, dict[str, Statistic]]:
    """Return asset id, file and content of the statistics to use."""
    if options.norm_stats is not None:
        asset_id, file = given_statistics(options.norm_stats, options.asset_id, usual)
        return asset_id, str(file), read_statistics(file)
    # openpi's converter writes assets/ beside the folder or does not write it.
    for place in (folder / "assets", folder.parent / "assets", folder.parent.parent / "assets"):
        assets = find_assets(place)
        asset_id = choose_asset(assets, options.asset_id, usual, str(place)) if assets else None
        if asset_id is None:
            continue
        file = assets[asset_id]
        if place.parent != folder:
            reason = "it lies outside the checkpoint's folder; --norm-stats names another"
            decisions.append(assume("statistics", str(file), reason))
        if usual is not None and asset_id not in (usual, options.asset_id):
            reason = f"the only asset there, where {usual} was expected; --norm-stats names another file"
            decisions.append(assume("asset of the statistics", asset_id, reason))
        return asset_id, str(file), read_statistics(file)
    raise UserError(
        f"{folder / 'assets'} holds no <asset id>/{FILE}, without which states and actions cannot be normalised; give "
        "the file that belongs to the checkpoint with --norm-stats"
    )
