"""Statistics of both code bases: found, read, and refused where they cannot be right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from checkpoint_files import STATS, write_stats
from safetensors.torch import save_file

from capture.checkpoints.norm_stats import (
    choose_asset,
    find_assets,
    make_normaliser,
    read_statistics,
    read_tensors,
    resolve_statistics,
)
from capture.errors import UserError

GOOD = {"q01": np.array([-1.0, 0.0]), "q99": np.array([1.0, 0.0]), "mean": np.zeros(2), "std": np.array([1.0, 0.0])}


def test_read_statistics_reads_openpi_file(tmp_path):
    statistics = read_statistics(write_stats(tmp_path / "norm_stats.json"))
    assert statistics["state"]["q99"].tolist() == [1.5] * 8
    assert statistics["action"]["std"].tolist() == [0.5] * 8
    assert statistics["state"]["q01"].dtype == np.float64


def test_read_statistics_reads_lerobot_stats(tmp_path):
    stats = {"observation.state": {"min": [0], "max": [2]}, "action": {"mean": [1], "std": [3], "count": [9]}}
    statistics = read_statistics(write_stats(tmp_path / "stats.json", stats))
    assert statistics["state"]["max"].tolist() == [2.0]
    assert statistics["action"].keys() == {"mean", "std"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"norm_stats": {}}', "has neither 'state' nor 'actions'"),
        ('{"norm_stats": 3}', "should be an object"),
        ('{"norm_stats": {"state": {"q01": "x"}}}', "should be a list of finite numbers"),
        ('{"norm_stats": {"state": {"q01": [1, NaN]}}}', "should be a list of finite numbers"),
        ('{"norm_stats": {"state": {"q01": [1e999]}}}', "should be a list of finite numbers"),
        ('{"norm_stats": {"state": {"q01": [[1]]}}}', "should be a list of finite numbers"),
        ('{"norm_stats": {"state": {"q01": [true]}}}', "should be a list of finite numbers"),
        ("", "is not valid JSON"),
    ],
)
def test_invalid_statistics_files_are_refused(tmp_path, content, message):
    path = tmp_path / "norm_stats.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_statistics(path)


def test_read_tensors_reads_lerobot_statistics(tmp_path):
    tensors = {
        "observation.state.q01": torch.tensor([0.1, 0.2]),
        "observation.state.count": torch.tensor([7]),
        "observation.images.top.mean": torch.zeros(3, 1, 1),
        "action.q99": torch.tensor([3.0]),
    }
    save_file(tensors, tmp_path / "stats.safetensors")
    statistics = read_tensors(tmp_path / "stats.safetensors")
    assert statistics.keys() == {"observation.state", "action"}
    assert statistics["observation.state"]["q01"].tolist() == torch.tensor([0.1, 0.2]).double().tolist()


@pytest.mark.parametrize("mode", ["openpi_quantile", "quantile", "mean_std"])
def test_valid_statistics_make_a_normaliser(mode):
    normaliser = make_normaliser(mode, GOOD, "state", "here")
    assert normaliser.mode == mode
    assert normaliser.dims == 2


def test_identity_mode_needs_no_statistics():
    assert make_normaliser("identity", None, "state", "here").dims is None


@pytest.mark.parametrize(
    ("mode", "change", "message"),
    [
        ("quantile", {"q01": None}, "here has no 'q01' of the state, which quantile normalisation needs.*--norm-stats"),
        ("min_max", {}, "here has no 'min' of the state, which min max normalisation needs"),
        ("quantile10", {}, "here has no 'q10'"),
        ("quantile", {"q99": np.ones(3)}, "have 2 and 3 numbers"),
        ("quantile", {"q01": np.ones(0), "q99": np.ones(0)}, "have 0 and 0 numbers"),
        ("quantile", {"q99": np.array([1.0, np.nan])}, "not finite"),
        (
            "openpi_quantile",
            {"q99": np.array([1.0, -0.5])},
            r"'q99' of the state in here is below 'q01' \(0\) in dimension 1 \(-0.5\)",
        ),
        ("mean_std", {"std": np.array([1.0, -2.0])}, r"'std' of the state in here is negative in dimension 1 \(-2\)"),
    ],
)
def test_impossible_statistics_are_refused(mode, change, message):
    statistic = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        make_normaliser(mode, statistic, "state", "here")


def test_missing_statistics_error_names_the_option():
    with pytest.raises(UserError, match="no statistics of the action, .*--norm-stats"):
        make_normaliser("quantile", None, "action", "here")


def test_assets_are_found_by_id_with_slashes(tmp_path):
    for asset in ("droid", "physical-intelligence/libero", "a/b/c/d/e"):
        write_stats(tmp_path / asset / "norm_stats.json")
    assert list(find_assets(tmp_path)) == ["droid", "physical-intelligence/libero"]
    assert find_assets(tmp_path / "nothing") == {}


def test_choose_asset_follows_precedence(tmp_path):
    assets = {"droid": tmp_path, "trossen": tmp_path}
    assert choose_asset(assets, "trossen", "droid", "here") == "trossen"
    assert choose_asset(assets, None, "droid", "here") == "droid"
    assert choose_asset({"trossen": tmp_path}, None, "droid", "here") == "trossen"
    assert choose_asset({}, None, "droid", "here") is None
    with pytest.raises(UserError, match="several robots; choose one with --asset: droid, trossen"):
        choose_asset(assets, None, None, "here")
    with pytest.raises(UserError, match="no statistics for the asset 'ur5'; there are: droid, trossen"):
        choose_asset(assets, "ur5", None, "here")


def test_given_statistics_accepts_file_or_folder(tmp_path):
    file = write_stats(tmp_path / "assets" / "droid" / "norm_stats.json")
    assert resolve_statistics(file, None, None) == (None, file)
    assert resolve_statistics(file.parent, None, None) == ("droid", file)
    assert resolve_statistics(tmp_path / "assets", None, None) == ("droid", file)
    with pytest.raises(UserError, match="--norm-stats .*nowhere does not exist"):
        resolve_statistics(tmp_path / "nowhere", None, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="--norm-stats .*empty holds no norm_stats.json"):
        resolve_statistics(tmp_path / "empty", None, None)


def test_statistics_of_the_tests_have_the_format_of_openpi(shared):
    real = json.loads((shared / "reference/golden/openpi/checkpoint/assets/droid/norm_stats.json").read_text())
    assert {key: set(value) for key, value in real["norm_stats"].items()} == {
        key: set(value) for key, value in STATS["norm_stats"].items()
    }
