"""Normalisation of states and actions in a lerobot checkpoint: modes and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capture.checkpoints.lerobot.cameras import PICTURES
from capture.checkpoints.lerobot.processors import NO_VALUES
from capture.checkpoints.norm_stats import (
    ACTION,
    STATE,
    Statistic,
    make_normaliser,
    read_statistics,
    read_tensors,
    resolve_statistics,
)
from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.settings import STATISTICS, assume, conclude, leave_unnormalised
from capture.errors import UserError
from capture.json_fields import JsonObject, is_safe_relative_path
from capture.policies.pi05.preprocessing import Normaliser, NormaliserMode
from capture.provenance import Decision

_MODES: Final[dict[str, NormaliserMode]] = {
    "QUANTILES": "quantile",
    "MEAN_STD": "mean_std",
    "MIN_MAX": "min_max",
    "QUANTILE10": "quantile10",
    "IDENTITY": "identity",
}


@dataclass(frozen=True)
class FeatureNames:
    """Names of the state and the action in config.json and in the statistics."""

    state: str
    action: str


def make_normalisers(
    folder: Path,
    config: JsonObject,
    before_steps: Mapping[str, JsonObject],
    after_steps: Mapping[str, JsonObject],
    options: CheckpointOptions,
    names: FeatureNames,
    decisions: list[Decision],
) -> tuple[Normaliser, Normaliser]:
    """Return the normalisers of state and action; `before_steps`, `after_steps`: of the saved processors, by name.

    Raises UserError for unknown modes, for pictures normalised by statistics, and for missing statistics.
    """
    if options.normalisation == "none":
        return leave_unnormalised(decisions)
    normaliser, unnormaliser = before_steps.get("normalizer_processor"), after_steps.get("unnormalizer_processor")
    saved = (normaliser or NO_VALUES).section("norm_map")
    mapping = saved or config.section("normalization_mapping") or NO_VALUES
    output_mapping = (unnormaliser or NO_VALUES).section("norm_map") or mapping
    if options.norm_stats is not None:
        _, file = resolve_statistics(options.norm_stats, None, None)
        statistics, where = read_statistics(file), str(file)
        state, action = statistics.get(STATE), statistics.get(ACTION)
        decisions.append(conclude(STATISTICS, where, "by --norm-stats"))
    else:
        where = str(folder)
        inputs, outputs = _read_stored_statistics(folder, normaliser), _read_stored_statistics(folder, unnormaliser)
        state, action = inputs.get(names.state), (outputs or inputs).get(names.action)
        chosen = (normaliser or NO_VALUES).texts("normalize_observation_keys")
        if chosen is not None and names.state not in chosen:
            mapping = JsonObject({**mapping.values, "STATE": "IDENTITY"}, mapping.where)
        if (
            any(name.startswith(PICTURES) for name in inputs)
            and _read_mode(mapping, "VISUAL", "IDENTITY") != "identity"
        ):
            raise UserError(
                f"{mapping.where} normalises pictures by statistics; this program runs policies that do not"
            )
        files = [step.text("state_file") for step in (normaliser, unnormaliser) if step is not None]
        if file_names := " and ".join(dict.fromkeys(file for file in files if file)):
            decisions.append(conclude(STATISTICS, file_names, "the checkpoint's own"))
    normalisers = []
    for feature, mode_mapping, statistic in (("state", mapping, state), ("action", output_mapping, action)):
        mode = _read_mode(mode_mapping, feature.upper())
        if options.normalisation is not None:
            mode = "quantile" if options.normalisation == "quantile" else "mean_std"
            decision = conclude(f"{feature} normalisation", options.normalisation, "by --normalisation")
        elif mode_mapping.text(feature.upper()) is None:
            reason = "lerobot's default, since no file states it; --normalisation sets another"
            decision = assume(f"{feature} normalisation", "quantile", reason)
        else:
            reason = "normalization_mapping in config.json" if saved is None else "norm_map of the saved processors"
            decision = conclude(f"{feature} normalisation", mode.replace("_", "-"), reason)
        normalisers.append(make_normaliser(mode, statistic, feature, where))
        decisions.append(decision)
    return normalisers[0], normalisers[1]


def _read_mode(mapping: JsonObject, feature: str, default: str = "QUANTILES") -> NormaliserMode:
    name = mapping.text(feature) or default
    if name not in _MODES:
        raise UserError(f"{mapping.where} normalises {feature} by {name!r}; known are {', '.join(_MODES)}")
    return _MODES[name]


def _read_stored_statistics(folder: Path, step: JsonObject | None) -> dict[str, Statistic]:
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
