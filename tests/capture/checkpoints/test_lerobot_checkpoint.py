"""lerobot's folders: cameras, statistics, versions and variants, from the files that lerobot writes."""

from __future__ import annotations

import json

import pytest
import torch
from checkpoint_files import ODD_SIZES, write_stats
from decisions import choices_by_subject, uncertain_choices
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot_policy_files import IMAGE, NUMBERS, STATS_FILE, lerobot_config, write_lerobot_policy
from safetensors.torch import save_file

from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint
from capture.errors import UserError

OPTIONS = CheckpointOptions(sizes=ODD_SIZES)


def test_folder_of_current_lerobot_is_read(tmp_path):
    checkpoint = open_checkpoint(str(write_lerobot_policy(tmp_path / "pi05_libero_ft")), options=OPTIONS)
    assert checkpoint.kind == "lerobot"
    assert (checkpoint.config.horizon, checkpoint.config.denoise_steps) == (10, 7)
    preprocessing = checkpoint.preprocessing
    assert preprocessing.slots == ("exterior", "wrist")
    assert (preprocessing.resize, preprocessing.pad_state_to, preprocessing.time_grid) == ("torch", None, "lerobot")
    assert (preprocessing.robot_dim, preprocessing.max_tokens, preprocessing.state_in_prompt) == (7, 200, True)
    assert preprocessing.state.stats["q99"].tolist() == [1.0] * 8
    assert (
        preprocessing.action.stats["q99"].tolist() == [2.0] * 7
    )  # what undoes the normalisation has a file of its own
    assert uncertain_choices(checkpoint.decisions)["wrist slot"] == "observation.images.image2"


def test_options_take_precedence_over_the_files(tmp_path):
    options = CheckpointOptions(
        sizes=ODD_SIZES, horizon=4, denoise_steps=3, cameras=("left", "right"), turned=True, state_in_prompt=False
    )
    checkpoint = open_checkpoint(str(write_lerobot_policy(tmp_path)), options=options)
    assert (checkpoint.config.horizon, checkpoint.config.denoise_steps) == (4, 3)
    assert checkpoint.preprocessing.slots == ("left", "right")
    assert checkpoint.preprocessing.turned
    assert not checkpoint.preprocessing.state_in_prompt


@pytest.mark.parametrize(
    ("mode", "ours", "names"),
    [
        ("QUANTILES", "quantile", ("q01", "q99")),
        ("MEAN_STD", "mean_std", ("mean", "std")),
        ("MIN_MAX", "min_max", ("min", "max")),
        ("QUANTILE10", "quantile10", ("q10", "q90")),
    ],
)
def test_normalisation_modes_use_their_own_statistics(tmp_path, mode, ours, names):
    preprocessing = open_checkpoint(
        str(write_lerobot_policy(tmp_path, modes={"STATE": mode})), options=OPTIONS
    ).preprocessing
    assert preprocessing.state.mode == ours
    assert [preprocessing.state.stats[name][0] for name in names] == [NUMBERS[name] for name in names]
    assert preprocessing.action.mode == "quantile"


def test_identity_mode_needs_no_statistics(tmp_path):
    folder = write_lerobot_policy(tmp_path, modes={"STATE": "IDENTITY", "ACTION": "IDENTITY"}, statistics=False)
    preprocessing = open_checkpoint(str(folder), options=OPTIONS).preprocessing
    assert (preprocessing.state.mode, preprocessing.action.mode, preprocessing.state_dim) == ("identity", "identity", 8)


def test_base_model_without_statistics_takes_them_from_an_option(tmp_path):
    folder = write_lerobot_policy(tmp_path / "base", statistics=False)
    with pytest.raises(UserError, match="no statistics of the state, .*--norm-stats"):
        open_checkpoint(str(folder), options=OPTIONS)
    file = write_stats(tmp_path / "norm_stats.json")
    preprocessing = open_checkpoint(
        str(folder), options=CheckpointOptions(sizes=ODD_SIZES, norm_stats=file)
    ).preprocessing
    assert preprocessing.state.mode == "quantile"
    assert preprocessing.state.stats["q99"].tolist() == [1.5] * 8


def test_lerobot_04_is_recognised_by_its_embedding(tmp_path):
    old = lerobot_config(use_relative_actions="absent")
    checkpoint = open_checkpoint(str(write_lerobot_policy(tmp_path, configuration=old, tied=True)), options=OPTIONS)
    assert (checkpoint.preprocessing.resize, checkpoint.preprocessing.pad_state_to) == ("torch_0.4", 32)
    assert uncertain_choices(checkpoint.decisions)["lerobot version"].startswith("0.4")


@pytest.mark.parametrize("why", ["untied", "newer field", "train_config", "option"])
def test_later_versions_are_not_recognised_as_04(tmp_path, why):
    newer = lerobot_config(use_relative_actions=False if why == "newer field" else "absent")
    folder = write_lerobot_policy(tmp_path, configuration=newer, tied=why != "untied")
    if why == "train_config":
        (folder / "train_config.json").write_text('{"cudnn_deterministic": false}')
    options = CheckpointOptions(sizes=ODD_SIZES, lerobot_version="current" if why == "option" else None)
    preprocessing = open_checkpoint(str(folder), options=options).preprocessing
    assert (preprocessing.resize, preprocessing.pad_state_to) == ("torch", None)


def test_version_04_can_be_chosen_by_option(tmp_path):
    options = CheckpointOptions(sizes=ODD_SIZES, lerobot_version="0.4")
    preprocessing = open_checkpoint(str(write_lerobot_policy(tmp_path)), options=options).preprocessing
    assert (preprocessing.resize, preprocessing.pad_state_to) == ("torch_0.4", 32)


@pytest.mark.parametrize(
    ("features", "slots"),
    [
        (
            ["images.base_0_rgb", "images.left_wrist_0_rgb", "images.right_wrist_0_rgb"],
            ("exterior", "wrist", "right wrist"),
        ),
        (
            ["images.exterior_1_left", "images.exterior_2_left", "images.wrist_left"],
            ("exterior", "exterior_2_left", "wrist"),
        ),
        (["images.top", "images.front", "images.empty_camera_0"], ("top", "front")),
        (["image"], ("exterior",)),
        ([], ("exterior", "wrist", "right wrist")),
    ],
)
def test_cameras_are_in_the_order_of_the_slots(tmp_path, features, slots):
    config = lerobot_config(input_features={f"observation.{name}": IMAGE for name in features})
    assert (
        open_checkpoint(str(write_lerobot_policy(tmp_path, configuration=config)), options=OPTIONS).preprocessing.slots
        == slots
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_visual_memory": True}, "sets 'use_visual_memory': a memory .MEM. variant"),
        ({"use_proprioceptive_memory": True}, "sets 'use_proprioceptive_memory': a memory .MEM. variant"),
        ({"image_resolution": [448, 448]}, "pictures of 448 x 448 pixels"),
        ({"chunk_size": None}, "has no 'chunk_size'"),
        ({"chunk_size": "15"}, "'chunk_size' in .* is '15', but should be a whole number"),
        ({"chunk_size": 10**9}, "should be a whole number from 1 to 10000"),
        ({"type": "act"}, "a lerobot policy of type 'act'"),
        ({"type": "pi0"}, "is of a pi0 policy; this program runs Pi0.5"),
        ({"input_features": {"observation.images.a bars": IMAGE}}, "a camera cannot be called 'a bars'"),
        ({"output_features": {"action": {"shape": [7, 7]}}}, "should be one list of numbers"),
    ],
)
def test_unsupported_variants_and_invalid_values_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        open_checkpoint(str(write_lerobot_policy(tmp_path, configuration=lerobot_config(**change))), options=OPTIONS)
    assert "\n" not in str(error.value)


def test_unknown_processor_step_is_mentioned(tmp_path):
    folder = write_lerobot_policy(tmp_path, extra_steps=[{"class": "my.own.CropProcessorStep", "config": {}}])
    checkpoint = open_checkpoint(str(folder), options=OPTIONS)
    assert uncertain_choices(checkpoint.decisions)["processor steps"] == "'CropProcessorStep' is not applied"


@pytest.mark.parametrize(
    ("state_file", "message"),
    [
        ("../secret.safetensors", "lies outside the folder; it is not read"),
        ("gone.safetensors", "has no gone.safetensors, the statistics that its processor names"),
        (7, "should be a string"),
    ],
)
def test_statistics_file_outside_the_folder_is_refused(tmp_path, state_file, message):
    folder = write_lerobot_policy(tmp_path)
    steps = [{"registry_name": "normalizer_processor", "config": {}, "state_file": state_file}]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"steps": steps}))
    with pytest.raises(UserError, match=message):
        open_checkpoint(str(folder), options=OPTIONS)


def test_pictures_normalised_by_statistics_are_refused(tmp_path):
    folder = write_lerobot_policy(tmp_path, modes={"VISUAL": "MEAN_STD"})
    assert open_checkpoint(str(folder), options=OPTIONS)  # as in lerobot, no statistics, no effect
    save_file({"observation.images.image.mean": torch.zeros(3), "action.q01": torch.zeros(7)}, folder / STATS_FILE)
    with pytest.raises(UserError, match="normalises pictures by statistics"):
        open_checkpoint(str(folder), options=OPTIONS)


def test_openpi_option_is_refused(tmp_path):
    with pytest.raises(UserError, match="--config pi05_droid says nothing about a checkpoint of kind lerobot"):
        open_checkpoint(
            str(write_lerobot_policy(tmp_path)), options=CheckpointOptions(sizes=ODD_SIZES, config="pi05_droid")
        )


VALUES = (
    st.none() | st.booleans() | st.integers(-2, 40) | st.text(max_size=3) | st.lists(st.integers(-1, 9), max_size=3)
)


@pytest.fixture(scope="module")
def complete_folder(tmp_path_factory):
    return write_lerobot_policy(tmp_path_factory.mktemp("whole"))


@given(data=st.data())
@settings(max_examples=150)
def test_arbitrary_lerobot_files_open_or_raise_user_error(complete_folder, data):
    """Any value anywhere in the three JSON files."""
    names = ("config.json", "policy_preprocessor.json", "policy_postprocessor.json")
    contents = {name: (complete_folder / name).read_text() for name in names}
    name = data.draw(st.sampled_from(names))
    content = json.loads(contents[name])
    inside = content
    while True:
        keys = list(inside) if isinstance(inside, dict) else range(len(inside))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(inside[key], dict | list) or not inside[key] or data.draw(st.booleans()):
            inside[key] = data.draw(VALUES)
            break
        inside = inside[key]
    try:
        (complete_folder / name).write_text(json.dumps(content))
        open_checkpoint(complete_folder, options=OPTIONS)
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        (complete_folder / name).write_text(contents[name])


def test_rename_map_gives_the_camera_of_each_slot(tmp_path):
    step = {
        "registry_name": "rename_observations_processor",
        "config": {
            "rename_map": {
                "observation.images.far": "observation.images.image",
                "observation.images.near": "observation.images.image2",
                "observation.images.third": "observation.images.nothing",
            }
        },
    }
    checkpoint = open_checkpoint(write_lerobot_policy(tmp_path, extra_steps=[step]), options=OPTIONS)
    assert checkpoint.cameras.renamed == {
        "exterior": ("observation.images.far",),
        "wrist": ("observation.images.near",),
    }
    assert checkpoint.cameras.features == {"exterior": "observation.images.image", "wrist": "observation.images.image2"}
    assert (
        uncertain_choices(checkpoint.decisions)["rename_map"]
        == "observation.images.third to observation.images.nothing is not applied"
    )
    requested = Pi05Spec(checkpoint, None).source_options
    assert requested.renamed_cameras == checkpoint.cameras.renamed
    assert requested.camera_features == checkpoint.cameras.features


def test_normalisation_none_needs_no_statistics(tmp_path):
    shapes = {"action": {"type": "ACTION", "shape": [32]}}
    folder = write_lerobot_policy(tmp_path, statistics=False, configuration=lerobot_config(output_features=shapes))
    with pytest.raises(UserError, match="no statistics of the state.*--norm-stats .*--normalisation none"):
        open_checkpoint(folder, options=OPTIONS)
    checkpoint = open_checkpoint(folder, options=CheckpointOptions(sizes=ODD_SIZES, normalisation="none"))
    preprocessing = checkpoint.preprocessing
    assert (preprocessing.state.mode, preprocessing.action.mode, preprocessing.has_robot_units) == (
        "identity",
        "identity",
        False,
    )
    assert uncertain_choices(checkpoint.decisions)["state and action normalisation"] == "none"
    assert uncertain_choices(checkpoint.decisions)["action dimensions of the robot"] == "32, all of the model's"
    requested = Pi05Spec(checkpoint, None).source_options
    assert (requested.robot_dim, requested.action_keys) == (None, ("none",))


def test_normalisation_can_be_chosen_by_option(tmp_path):
    options = CheckpointOptions(sizes=ODD_SIZES, normalisation="mean-std")
    checkpoint = open_checkpoint(write_lerobot_policy(tmp_path), options=options)
    assert (checkpoint.preprocessing.state.mode, checkpoint.preprocessing.action.mode) == ("mean_std", "mean_std")
    assert choices_by_subject(checkpoint.decisions)["action normalisation"] == "mean-std"
    assert choices_by_subject(open_checkpoint(tmp_path, options=OPTIONS).decisions)["state normalisation"] == "quantile"


def test_merged_weights_of_a_peft_policy_open_with_a_decision(tmp_path):
    checkpoint = open_checkpoint(
        write_lerobot_policy(tmp_path, configuration=lerobot_config(use_peft=True)), options=OPTIONS
    )
    assert uncertain_choices(checkpoint.decisions)["LoRA adapters"] == "none"
