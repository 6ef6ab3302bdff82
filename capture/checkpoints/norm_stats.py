"""Read and check normalisation statistics in the formats of openpi and lerobot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from capture.checkpoints.safetensors_reader import FLOATS, read_header, read_into
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json
from capture.policies.pi05.preprocessing import NEEDED_STATISTICS, Normaliser, NormaliserMode

Statistic = Mapping[str, npt.NDArray[np.float64]]
"""Name (q01, mean, ...) -> vector of one number per dimension."""

FILE: Final = "norm_stats.json"
STATE: Final = "state"
ACTION: Final = "action"

_KEYS: Final = {STATE: ("state", "observation.state"), ACTION: ("actions", "action")}
_NAMES: Final = ("mean", "std", "min", "max", "q01", "q10", "q90", "q99")
_MAX_BYTES: Final = 16 << 20
_MAX_DEPTH: Final = 3


def read_statistics(path: Path) -> dict[str, Statistic]:
    """Return the statistics of `state` and `action` in a JSON file, those that are present.

    Accepts openpi's `norm_stats.json` (`norm_stats` with `state` and `actions`) and a lerobot data set's `stats.json`
    (`observation.state` and `action`). Raises UserError for any other file.
    """
    file = read_json(path)
    root = file.section("norm_stats") or file
    statistics: dict[str, Statistic] = {}
    for feature, keys in _KEYS.items():
        section = next(filter(None, map(root.section, keys)), None)
        if section is not None:
            statistics[feature] = _vectors(section)
    if not statistics:
        raise UserError(
            f"{path} has neither 'state' nor 'actions', so it holds no normalisation statistics; give openpi's "
            f"{FILE} or a data set's stats.json"
        )
    return statistics


def _vectors(section: JsonObject) -> Statistic:
    vectors = {name: section.numbers(name) for name in _NAMES if name in section.values}
    return {name: np.array(vector, np.float64) for name, vector in vectors.items() if vector is not None}


def read_tensors(path: Path) -> dict[str, Statistic]:
    """Return feature name -> statistics from lerobot's tensors, which have names such as `observation.state.q01`.

    Statistics of pictures are skipped. Raises UserError for a damaged file.
    """
    statistics: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name, stored in read_header(path).items():
        feature, _, statistic = name.rpartition(".")
        if statistic not in _NAMES or len(stored.shape) != 1:
            continue
        if stored.dtype not in FLOATS or stored.stop - stored.start > _MAX_BYTES:
            raise UserError(f"{name!r} in {path} is not a short list of numbers ({stored.dtype}); fetch it again")
        tensor = torch.empty(stored.shape, dtype=torch.float64)
        read_into(stored, tensor)
        statistics.setdefault(feature, {})[statistic] = tensor.numpy()
    return dict(statistics)


def make_normaliser(mode: NormaliserMode, statistic: Statistic | None, feature: str, where: str) -> Normaliser:
    """Return the normaliser of a state or an action. Raises UserError for missing or impossible statistics."""
    low_name, high_name = NEEDED_STATISTICS[mode] or ("", "")
    if not low_name:
        return Normaliser(mode, {})
    if not statistic:
        raise UserError(
            f"{where} holds no statistics of the {feature}, without which it cannot be normalised; give the file that "
            f"belongs to it with --norm-stats {FILE}, or look at its attention without robot units by "
            "--normalisation none"
        )
    for name in (low_name, high_name):
        if name not in statistic:
            raise UserError(
                f"{where} has no {name!r} of the {feature}, which {mode.replace('_', ' ')} normalisation needs; give "
                "the file that the policy was trained with by --norm-stats"
            )
    low, high = statistic[low_name], statistic[high_name]
    if low.shape != high.shape or low.ndim != 1 or not low.size:
        raise UserError(
            f"{low_name!r} and {high_name!r} of the {feature} in {where} have {low.size} and {high.size} numbers; "
            "the file is damaged: make or fetch it again"
        )
    if not np.isfinite(low).all() or not np.isfinite(high).all():
        raise UserError(f"the statistics of the {feature} in {where} hold numbers that are not finite; make them again")
    is_mean_std = mode.endswith("mean_std")
    is_wrong = high < (0.0 if is_mean_std else low)
    if is_wrong.any():
        dim = int(np.flatnonzero(is_wrong)[0])
        fault = "negative" if is_mean_std else f"below {low_name!r} ({low[dim]:g})"
        raise UserError(
            f"{high_name!r} of the {feature} in {where} is {fault} in dimension {dim} ({high[dim]:g}); make the "
            "statistics again"
        )
    return Normaliser(mode, {low_name: low, high_name: high})


def find_assets(folder: Path) -> dict[str, Path]:
    """Return asset id -> file of every `<asset id>/norm_stats.json` below a folder; ids may contain slashes."""
    files_by_asset = {}
    for walked_folder, subfolders, files in os.walk(folder):
        asset_path = Path(walked_folder).relative_to(folder)
        subfolders[:] = sorted(subfolders) if len(asset_path.parts) < _MAX_DEPTH else []
        if FILE in files:
            files_by_asset[asset_path.as_posix()] = Path(walked_folder) / FILE
    return files_by_asset


def choose_asset(assets: Mapping[str, Path], wanted: str | None, usual: str | None, where: str) -> str | None:
    """Return the asset id to use: `wanted`, else `usual` (the configuration's), else the only one; None without assets.

    Raises UserError if `wanted` is missing, or the choice among several is ambiguous.
    """
    if wanted is not None:
        if wanted not in assets:
            available = ", ".join(assets) or "none"
            raise UserError(f"{where} has no statistics for the asset {wanted!r}; there are: {available}")
        return wanted
    if usual in assets:
        return usual
    if len(assets) > 1:
        raise UserError(f"{where} has statistics for several robots; choose one with --asset: {', '.join(assets)}")
    return next(iter(assets), None)


def resolve_statistics(path: Path, wanted: str | None, usual: str | None) -> tuple[str | None, Path]:
    """Return asset id and file for the value of `--norm-stats`: a file, or a folder with one or several assets.

    Raises UserError if there is no file, or the choice is ambiguous.
    """
    if path.is_file():
        return wanted, path
    assets = find_assets(path)
    chosen = choose_asset(assets, wanted, usual, f"--norm-stats {path}") if assets else None
    if chosen is None:
        problem = f"holds no {FILE}" if path.is_dir() else "does not exist"
        raise UserError(
            f"--norm-stats {path} {problem}; give openpi's {FILE}, a data set's stats.json, or their folder"
        )
    return path.name if chosen == "." else chosen, assets[chosen]
