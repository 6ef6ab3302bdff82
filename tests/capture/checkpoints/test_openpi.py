"""openpi's folders: settings from config.json, from what is known of configurations, from assets, and from options."""

from __future__ import annotations

import json

import pytest
from checkpoint_files import ODD, ODD_SIZES, STATS, random_weights, write_openpi, write_stats
from decisions import choices_by_subject, uncertain_choices
from small_tokenizers import TOKENIZER

from capture.checkpoints import CheckpointOptions, open_checkpoint
from capture.errors import UserError
from capture.policies.tokenizer import read_tokenizer

TOKENS = read_tokenizer(TOKENIZER)


@pytest.fixture(scope="module")
def weights():
    return random_weights(ODD)


def options(**more):
    return CheckpointOptions(sizes=more.pop("sizes", ODD_SIZES), **more)


def open_folder(folder, **more):
    return open_checkpoint(str(folder), options=options(**more))


def test_converted_droid_folder_is_read(weights, tmp_path):
    checkpoint = open_folder(write_openpi(tmp_path / "pi05_droid_pytorch", weights, horizon=15))
    assert (checkpoint.kind, checkpoint.name) == ("openpi", "pi05_droid_pytorch")
    assert (checkpoint.config.horizon, checkpoint.config.denoise_steps) == (15, 10)
    preprocessing = checkpoint.preprocessing
    assert (preprocessing.resize, preprocessing.slots, preprocessing.time_grid) == (
        "pil",
        ("exterior", "wrist"),
        "openpi",
    )
    assert (preprocessing.state_in_prompt, preprocessing.pad_state_to, preprocessing.max_tokens) == (True, None, 200)
    assert (preprocessing.robot_dim, preprocessing.state_dim, preprocessing.relative, preprocessing.turned) == (
        8,
        8,
        (),
        None,
    )
    assert (preprocessing.state.mode, preprocessing.action.mode) == ("openpi_quantile", "openpi_quantile")
    assert preprocessing.action.stats["q01"].tolist() == [-2.0] * 8
    assert uncertain_choices(checkpoint.decisions) == {"openpi configuration": "pi05_droid"}


def test_libero_is_recognised_by_its_asset_without_state_in_the_prompt(weights, tmp_path):
    folder = write_openpi(tmp_path / "mine", weights, horizon=10, asset="physical-intelligence/libero")
    checkpoint = open_folder(folder)
    preprocessing = checkpoint.preprocessing
    assert (preprocessing.state_in_prompt, preprocessing.robot_dim, preprocessing.turned) == (False, 7, None)
    assert uncertain_choices(checkpoint.decisions) == {"openpi configuration": "pi05_libero"}
    assert open_folder(folder, turned=True).preprocessing.turned
    assert open_folder(folder, state_in_prompt=True).preprocessing.state_in_prompt


def test_configuration_can_be_chosen_by_option(weights, tmp_path):
    folder = write_openpi(tmp_path / "pi05_droid", weights, horizon=16)
    checkpoint = open_folder(folder, config="pi05_full_droid_finetune")
    assert checkpoint.preprocessing.relative == (True,) * 7
    assert uncertain_choices(checkpoint.decisions) == {}


def test_horizon_unlike_the_configuration_is_mentioned(weights, tmp_path):
    checkpoint = open_folder(write_openpi(tmp_path / "pi05_droid", weights, horizon=16))
    assert checkpoint.config.horizon == 16
    assert uncertain_choices(checkpoint.decisions)["horizon"] == "16"
    assert any("pi05_droid has 15; give --config" in decision.reason for decision in checkpoint.decisions)


def test_horizon_comes_from_option_sizes_file_or_configuration_in_this_order(weights, tmp_path):
    folder = write_openpi(tmp_path / "pi05_droid", weights, horizon=16)
    sizes = {**ODD_SIZES, "action_horizon": 9, "num_steps": 4, "max_token_len": 60}
    assert open_folder(folder, horizon=5, sizes=sizes).config.horizon == 5
    checkpoint = open_folder(folder, sizes=sizes)
    assert (checkpoint.config.horizon, checkpoint.config.denoise_steps, checkpoint.preprocessing.max_tokens) == (
        9,
        4,
        60,
    )
    (folder / "config.json").unlink()  # as openpi's PyTorch training leaves it
    checkpoint = open_folder(folder)
    assert checkpoint.config.horizon == 15
    assert uncertain_choices(checkpoint.decisions)["horizon"] == "15"
    assert open_folder(folder, denoise_steps=3).config.denoise_steps == 3


def test_sizes_are_read_from_a_file(weights, tmp_path):
    file = tmp_path / "sizes.json"
    file.write_text(json.dumps(ODD_SIZES))
    assert open_folder(write_openpi(tmp_path / "x", weights), sizes=file).config.vlm == ODD.vlm
    with pytest.raises(UserError, match=r"cannot read .*nowhere.json: No such file"):
        open_folder(tmp_path / "x", sizes=tmp_path / "nowhere.json")


def test_unknown_robot_gets_pi05_defaults_with_decisions(weights, tmp_path):
    checkpoint = open_folder(write_openpi(tmp_path / "mine", weights, asset="my_robot"))
    preprocessing = checkpoint.preprocessing
    assert (
        preprocessing.robot_dim,
        preprocessing.state_dim,
        preprocessing.relative,
        preprocessing.state_in_prompt,
    ) == (8, None, (), True)
    assert preprocessing.slots == ("exterior", "wrist", "right wrist")
    assert uncertain_choices(checkpoint.decisions) == {
        "openpi configuration": "unknown, so Pi0.5's defaults are taken",
        "state in the prompt": "yes",
        "state and action normalisation": "quantile",
        "delta actions": "none: actions are absolute",
    }
    assert open_folder(tmp_path / "mine", cameras=("top",)).preprocessing.slots == ("top",)


def test_shorter_statistics_take_precedence_over_a_recognised_configuration(weights, tmp_path):
    folder = write_openpi(tmp_path / "mine", weights)
    write_stats(
        folder / "assets" / "droid" / "norm_stats.json",
        {"norm_stats": {name: {"q01": [0] * 6, "q99": [1] * 6} for name in ("state", "actions")}},
    )
    preprocessing = open_folder(folder).preprocessing
    assert (preprocessing.state_dim, preprocessing.robot_dim) == (6, 6)
    assert open_folder(folder, config="pi05_droid").preprocessing.robot_dim == 8


def test_aloha_decisions_name_what_is_left_to_the_caller(weights, tmp_path):
    checkpoint = open_folder(write_openpi(tmp_path / "pi05_aloha", weights, asset="trossen"))
    assert uncertain_choices(checkpoint.decisions)["units of states and actions"] == "pi's own ALOHA units"
    assert checkpoint.preprocessing.state_dim == 8
    assert uncertain_choices(checkpoint.decisions)["length of the state"] == "8"


def test_assets_beside_the_folder_are_found_and_mentioned(weights, tmp_path):
    folder = write_openpi(tmp_path / "run" / "converted", weights, asset=None)
    write_stats(tmp_path / "run" / "assets" / "droid" / "norm_stats.json")
    checkpoint = open_folder(folder)
    assert uncertain_choices(checkpoint.decisions)["statistics"] == str(
        tmp_path / "run" / "assets" / "droid" / "norm_stats.json"
    )
    assert checkpoint.preprocessing.state.dims == 8


@pytest.mark.parametrize("place", ["norm_stats.json", "physical-intelligence/robotwin/norm_stats.json"])
def test_statistics_outside_assets_are_found_and_mentioned(weights, tmp_path, place):
    folder = write_openpi(tmp_path / "mine", weights, asset=None)
    write_stats(folder / place)
    checkpoint = open_folder(folder)
    assert checkpoint.preprocessing.state.dims == 8
    assert uncertain_choices(checkpoint.decisions)["statistics"] == str(folder / place)


def test_options_describe_a_custom_policy(weights, tmp_path):
    folder = write_openpi(tmp_path / "mine", weights, asset="my_robot")
    checkpoint = open_folder(
        folder,
        normalisation="mean-std",
        state_in_prompt=False,
        relative_actions=(True, True, False),
        cameras=("top", "hand"),
    )
    preprocessing = checkpoint.preprocessing
    assert (preprocessing.state.mode, preprocessing.action.mode) == ("openpi_mean_std", "openpi_mean_std")
    assert (preprocessing.state_in_prompt, preprocessing.relative) == (False, (True, True, False))
    assert preprocessing.action.unnormalise([2.0]).tolist() == pytest.approx([2.0 * (0.5 + 1e-6) + 0.1])
    assert list(uncertain_choices(checkpoint.decisions)) == ["openpi configuration"]
    assert choices_by_subject(checkpoint.decisions)["state and action normalisation"] == "mean-std"
    assert choices_by_subject(checkpoint.decisions)["delta actions"].startswith(
        "dimensions 0, 1 are predicted relative to the state"
    )
    assert checkpoint.config_hash != open_folder(folder).config_hash
    assert open_folder(folder, config="pi05_full_droid_finetune", relative_actions=()).preprocessing.relative == ()


def test_normalisation_none_needs_no_statistics(weights, tmp_path):
    folder = write_openpi(tmp_path / "deep" / "down" / "mine", weights, asset=None)
    checkpoint = open_folder(folder, normalisation="none")
    preprocessing = checkpoint.preprocessing
    assert (preprocessing.state.mode, preprocessing.action.mode, preprocessing.has_robot_units) == (
        "identity",
        "identity",
        False,
    )
    assert preprocessing.prompt("go", [0.0, 2.0], TOKENS).text == "Task: go, State: 128 255;\nAction: "
    assert uncertain_choices(checkpoint.decisions)["state and action normalisation"] == "none"
    with pytest.raises(UserError, match="the state has 33 numbers, but this policy takes at most 32"):
        preprocessing.check_state([0.0] * 33)


def test_asset_can_be_chosen_by_option(weights, tmp_path):
    folder = write_openpi(tmp_path / "mine", weights, asset="droid")
    other_stats = json.loads(json.dumps(STATS))
    other_stats["norm_stats"]["state"]["q99"] = [9.0] * 8
    write_stats(folder / "assets" / "trossen" / "norm_stats.json", other_stats)
    with pytest.raises(UserError, match="several robots; choose one with --asset: droid, trossen"):
        open_folder(folder)
    assert open_folder(folder, asset_id="trossen").preprocessing.state.stats["q99"].tolist() == [9.0] * 8
    assert open_folder(folder, config="pi05_droid").preprocessing.state.stats["q99"].tolist() == [1.5] * 8
    with pytest.raises(UserError, match="no statistics for the asset 'ur5'"):
        open_folder(folder, asset_id="ur5")


def test_given_statistics_take_precedence_as_file_or_folder(weights, tmp_path):
    folder = write_openpi(tmp_path / "mine", weights)
    other_stats = json.loads(json.dumps(STATS))
    other_stats["norm_stats"]["state"]["q99"] = [9.0] * 8
    file = write_stats(tmp_path / "given" / "droid" / "norm_stats.json", other_stats)
    for location in (file, file.parent, file.parent.parent):
        assert open_folder(folder, norm_stats=location).preprocessing.state.stats["q99"].tolist() == [9.0] * 8
    with pytest.raises(UserError, match=r"--norm-stats .*nothing.json does not exist; give openpi's"):
        open_folder(folder, norm_stats=tmp_path / "nothing.json")


def test_asset_unlike_the_configuration_is_mentioned(weights, tmp_path):
    checkpoint = open_folder(write_openpi(tmp_path / "pi05_libero", weights, horizon=10, asset="my/robot"))
    assert uncertain_choices(checkpoint.decisions)["asset of the statistics"] == "my/robot"


def test_missing_statistics_error_names_the_option(weights, tmp_path):
    folder = write_openpi(tmp_path / "deep" / "down" / "mine", weights, asset=None)
    with pytest.raises(UserError, match=r"holds no norm_stats.json, neither below assets/ nor elsewhere.*--norm-stats"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("state", {"q01": None}, "has no 'q01' of the state"),
        ("actions", {"q99": [1.0] * 7}, "'q01' and 'q99' of the action in .* have 8 and 7 numbers"),
        ("actions", {"q99": [-3.0] * 8}, "'q99' of the action in .* is below 'q01'"),
        ("state", {"q99": ["a"] * 8}, "should be a list of finite numbers"),
    ],
)
def test_invalid_statistics_are_refused(weights, tmp_path, part, change, message):
    folder = write_openpi(tmp_path / "mine", weights)
    stats = json.loads(json.dumps(STATS))
    stats["norm_stats"][part].update(change)
    write_stats(folder / "assets" / "droid" / "norm_stats.json", stats)
    with pytest.raises(UserError, match=message):
        open_folder(folder)


def make_demo_folder(folder, weights, **changes):
    write_openpi(folder, weights, asset="arm")
    config = {
        "kind": "demo",
        "name": "untrained demo",
        "action_horizon": 12,
        "denoise_steps": 6,
        "robot_dim": 8,
        "state_dim": 8,
        "cameras": ["exterior", "wrist"],
        **ODD_SIZES,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_demo_config_describes_the_whole_policy(weights, tmp_path):
    checkpoint = open_checkpoint(make_demo_folder(tmp_path, weights))
    assert (checkpoint.kind, checkpoint.name) == ("demo", "untrained demo")
    assert (checkpoint.config.horizon, checkpoint.config.denoise_steps) == (12, 6)
    assert checkpoint.config.vision.heads == 3
    assert checkpoint.preprocessing.slots == ("exterior", "wrist")
    assert checkpoint.tokenizer_folder == tmp_path
    assert uncertain_choices(checkpoint.decisions) == {}
    reasons = {decision.subject: decision.reason for decision in checkpoint.decisions}
    assert reasons["state in the prompt"] == "by its config.json"
    assert not [reason for reason in reasons.values() if "openpi" in reason]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_horizon": None}, "nothing tells how many actions"),
        ({"cameras": ["a", "a"]}, "give each camera its own name"),
        ({"state_in_prompt": 1}, "should be true or false"),
    ],
)
def test_invalid_demo_config_is_refused(weights, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        open_checkpoint(make_demo_folder(tmp_path, weights, **change))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "--horizon 0 is not possible"),
        ({"denoise_steps": 10**6}, "--denoise-steps 1000000 is not possible"),
        ({"cameras": ()}, "give each camera its own name, at least one"),
        ({"cameras": ("a/b",)}, "a camera cannot be called 'a/b'"),
        ({"cameras": ("prompt",)}, "a camera cannot be called 'prompt'"),
        ({"lerobot_version": "0.3"}, "--lerobot-version 0.3 is not known"),
        ({"normalisation": "minmax"}, "--normalisation minmax is not known; give quantile, mean-std, none"),
        ({"lora_alpha": 0.0}, "--lora-alpha 0 is not possible; give a number above 0"),
    ],
)
def test_impossible_options_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        CheckpointOptions(**changes)


def test_options_of_another_kind_are_refused(weights, tmp_path):
    folder = write_openpi(tmp_path / "mine", weights)
    with pytest.raises(UserError, match="--lerobot-version 0.4 says nothing about a checkpoint of kind openpi"):
        open_folder(folder, lerobot_version="0.4")
