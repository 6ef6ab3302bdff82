from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import DATA
from small_tokenizers import TOKENIZER, gemma_tokenizer

from capture.errors import UserError
from capture.policies.letterbox import resize_pil, resize_torch, to_pixels
from capture.policies.pi05.preprocessing import Normaliser, NormaliserMode, Preprocessing
from capture.policies.tokenizer import read_tokenizer

TOKENS = read_tokenizer(TOKENIZER)


def read_reference(name: str) -> dict:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


OPENPI, LEROBOT = read_reference("prompts_openpi.json"), read_reference("prompts_lerobot.json")
STATS = {
    part: {name: np.array(values) for name, values in stats.items()}
    for part, stats in read_reference("norm_stats.json")["norm_stats"].items()
}
MODES: tuple[NormaliserMode, ...] = (
    *("openpi_quantile", "openpi_mean_std", "quantile", "mean_std", "min_max", "quantile10", "identity"),
)


def make_preprocessing(**changes: object) -> Preprocessing:
    """Return openpi's preprocessing of DROID with some changes."""
    droid = {
        "resize": "pil",
        "slots": ("exterior", "wrist"),
        "state_in_prompt": True,
        "pad_state_to": None,
        "state": Normaliser("openpi_quantile", STATS["state"]),
        "action": Normaliser("openpi_quantile", STATS["actions"]),
        "robot_dim": 8,
    }
    return Preprocessing(**(droid | changes))


def make_lerobot_preprocessing(**changes: object) -> Preprocessing:
    state, action = Normaliser("quantile", STATS["state"]), Normaliser("quantile", STATS["actions"])
    return make_preprocessing(**({"resize": "torch", "state": state, "action": action} | changes))


# Normalisation


@pytest.mark.parametrize("case", range(len(OPENPI["normalisation"])))
def test_openpi_normalisation_is_bit_exact(case: int) -> None:
    known = OPENPI["normalisation"][case]
    state = Normaliser("openpi_quantile", STATS["state"]).normalise(known["raw_state"])
    assert state.dtype == np.float64
    assert state.tolist() == known["normalised_state"]
    actions = Normaliser("openpi_quantile", STATS["actions"]).unnormalise(known["model_actions"])
    assert actions.tolist() == known["unnormalised_actions"]  # dimensions 8 to 31 untouched


@pytest.mark.parametrize("case", range(len(LEROBOT["normalisation"])))
def test_lerobot_normalisation_is_bit_exact(case: int) -> None:
    known = LEROBOT["normalisation"][case]
    state = Normaliser("quantile", STATS["state"]).normalise(np.array(known["raw_state"]))
    assert state.dtype == np.float32
    assert state.tolist() == known["normalised_state"]
    model = np.array(OPENPI["normalisation"][case]["model_actions"], np.float32)
    actions = make_lerobot_preprocessing().actions(model, None)
    assert actions.dtype == np.float32
    assert actions.tolist() == known["unnormalised_actions"]


def test_normaliser_matches_lerobot_example(shared: Path) -> None:
    example = json.loads((shared / "reference" / "golden" / "lerobot" / "processor_example.json").read_text())
    preprocessing = make_lerobot_preprocessing()
    assert preprocessing.state is not None
    normalised = preprocessing.state.normalise(np.array(example["raw_state"], np.float32))
    np.testing.assert_allclose(normalised, example["normalised_state"], rtol=0, atol=1e-6)
    assert preprocessing.prompt(example["task"], example["raw_state"], TOKENS).text == example["prompt"][0]
    model = np.zeros((1, 32), np.float32)
    model[0, :8] = example["model_actions_first_step"]
    actions = preprocessing.actions(model, None)[0]
    np.testing.assert_allclose(actions, example["unnormalised_first_step"], rtol=0, atol=1e-6)


STATISTICS = {
    "q01": [-1.0, 0.0, 5.0],
    "q99": [1.0, 4.0, 5.0],
    "q10": [-0.5, 1.0, 5.0],
    "q90": [0.5, 3.0, 5.0],
    "min": [-2.0, -1.0, 5.0],
    "max": [2.0, 7.0, 5.0],
    "mean": [0.0, 2.0, 5.0],
    "std": [1.0, 2.0, 0.0],
}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("openpi_quantile", [1.5 / (2 + 1e-6) * 2 - 1, 1 / (4 + 1e-6) * 2 - 1, -1]),
        ("openpi_mean_std", [0.5 / (1 + 1e-6), -1 / (2 + 1e-6), 0]),
        ("quantile", [0.5, -0.5, -1]),
        ("mean_std", [0.5, -0.5, 0]),
        ("min_max", [0.25, -0.5, -1]),
        ("quantile10", [1, -1, -1]),
        ("identity", [0.5, 1, 5]),
    ],
)
def test_normaliser_modes_match_hand_computed_values(mode: NormaliserMode, expected: list[float]) -> None:
    normaliser = Normaliser(mode, {name: np.array(values) for name, values in STATISTICS.items()})
    values = normaliser.normalise([0.5, 1.0, 5.0])
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-7)
    assert values.dtype == (np.float64 if mode.startswith("openpi") else np.float32)
    np.testing.assert_allclose(normaliser.unnormalise(values), [0.5, 1.0, 5.0], rtol=0, atol=1e-6)


def test_constant_dimension_is_guarded_as_in_openpi_and_lerobot() -> None:
    stats = {"q01": np.array([5.0]), "q99": np.array([5.0])}
    assert Normaliser("openpi_quantile", stats).normalise([5.5]) == [0.5 / 1e-6 * 2 - 1]
    assert Normaliser("quantile", stats).normalise([5.5]) == np.float32(1.0) / np.float32(1e-8) - 1


@given(mode=st.sampled_from(MODES), values=st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=2))
def test_normalisation_is_invertible(mode: NormaliserMode, values: list[float]) -> None:
    normaliser = Normaliser(mode, {name: np.array(numbers[:2]) for name, numbers in STATISTICS.items()})
    np.testing.assert_allclose(normaliser.unnormalise(normaliser.normalise(values)), values, rtol=0, atol=3e-5)


def test_longer_statistics_are_truncated_and_shorter_ones_refused() -> None:
    normaliser = Normaliser("openpi_quantile", STATS["state"])
    whole = normaliser.normalise(np.arange(8.0))
    assert (normaliser.normalise(np.arange(5.0)) == whole[:5]).all()
    with pytest.raises(UserError, match=r"9 values .* have 8"):
        normaliser.normalise(np.arange(9.0))


def test_openpi_adds_in_model_dtype_before_widening() -> None:
    model = np.array([1e-8], np.float32)  # 1 + 1e-8 is 1 in float32
    normaliser = Normaliser("openpi_quantile", {"q01": np.array([0.0]), "q99": np.array([2.0])})
    assert normaliser.unnormalise(model) == 1.0 / 2.0 * (2.0 + 1e-6)


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        ({"q01": np.zeros(3)}, "no 'q99'"),
        ({"q01": np.zeros(3), "q99": np.ones(2)}, r"differ in length: \[2, 3\]"),
        ({"q01": np.zeros((3, 1)), "q99": np.ones(3)}, "'q01' is not a plain list"),
        ({"q01": np.zeros(2), "q99": np.array([1.0, np.nan])}, "'q99' is not a plain list"),
        ({"q01": np.array(["a"]), "q99": np.ones(1)}, "'q01' is not a plain list"),
    ],
)
def test_broken_statistics_are_refused(stats: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Normaliser("quantile", stats)


# Prompt


@pytest.mark.parametrize("case", LEROBOT["cases"], ids=lambda case: repr(case["prompt"][:20]))
def test_lerobot_prompts_equal_reference_strings(case: dict) -> None:
    state = np.array(case["state"], np.float32)
    current = make_lerobot_preprocessing(state=None, state_dim=len(state))
    assert current.prompt(case["prompt"], state, TOKENS).text == case["lerobot_current"]
    padded = make_lerobot_preprocessing(state=None, state_dim=len(state), pad_state_to=32)
    assert padded.prompt(case["prompt"], state, TOKENS).text == case["lerobot_v04_padded_to_32"]


def test_state_is_padded_after_normalisation() -> None:
    """Zeros added before normalisation would be normalised too, and would not give bin 128."""
    table = make_lerobot_preprocessing(pad_state_to=12).prompt("go", np.full(8, 0.3), TOKENS)
    values = table.text.partition("State: ")[2].partition(";")[0].split()
    assert len(values) == 12
    assert values[8:] == ["128"] * 4
    assert "128" not in values[:8]
    assert table.state_index.max() == 7  # padding is no value of the state


def test_raw_state_gives_reference_token_ids() -> None:
    """From robot units to ids, the whole way: the state that one case's bins came from."""
    case = OPENPI["cases"][1]
    q01, q99 = STATS["state"]["q01"], STATS["state"]["q99"]
    raw = (np.array(case["state"]) + 1) / 2 * (q99 - q01 + 1e-6) + q01
    table = make_preprocessing().prompt(case["prompt"], raw, read_tokenizer(gemma_tokenizer()))
    assert table.ids.tolist() == case["openpi_with_state_token_ids"]


def test_prompt_of_stateless_policy_holds_no_state() -> None:
    libero = make_preprocessing(state_in_prompt=False)
    assert libero.prompt("open the_drawer", None, TOKENS).text == "open the drawer\n"
    assert libero.prompt("open the_drawer", np.zeros(8), TOKENS).text == "open the drawer\n"


def test_prompt_is_truncated_at_token_limit() -> None:
    table = make_preprocessing(max_tokens=24).prompt("pick up the red block", np.zeros(8), TOKENS)
    assert len(table) == 24
    assert table.dropped > 0


# State


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "none was given"),
        ([0.0] * 7, "has 7 numbers, but this policy was trained with 8"),
        ([0.0] * 9, "has 9 numbers"),
        ([], "has 0 numbers"),
        ([0.0] * 7 + [np.nan], "finite"),
        ([0.0] * 7 + [np.inf], "finite"),
        ([0.0] * 7 + [-1e39], "finite float32"),
        ([[0.0] * 8], "one list"),
        (0.0, "one list"),
        (["a"] * 8, "not a list of numbers"),
        ([[0.0], [0.0, 1.0]], "not a list of numbers"),
    ],
)
def test_wrong_state_raises_one_sentence(state: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make_preprocessing().prompt("go", state, TOKENS)
    assert "\n" not in str(error.value)


def test_wrong_state_is_refused_when_prompt_holds_no_state() -> None:
    with pytest.raises(UserError, match="has 7 numbers"):
        make_preprocessing(state_in_prompt=False).prompt("go", np.zeros(7), TOKENS)


def test_statistics_padded_to_32_use_robot_dimensions() -> None:
    stats = {name: np.pad(STATS["state"][name], (0, 24)) for name in ("q01", "q99")}
    filled = make_preprocessing(state=Normaliser("openpi_quantile", stats))
    assert filled.state_lengths == (8, 32)
    state = np.linspace(-1, 1, 8)
    assert filled.prompt("go", state, TOKENS).text == make_preprocessing().prompt("go", state, TOKENS).text
    with pytest.raises(UserError, match="trained with 8 or 32"):
        filled.prompt("go", np.zeros(9), TOKENS)
    assert make_preprocessing(state_dim=7).state_lengths == (7,)
    assert make_preprocessing(state=None).state_lengths == ()


# Actions


def test_actions_have_robot_dimensions() -> None:
    model = np.array(OPENPI["normalisation"][0]["model_actions"], np.float32)
    actions = make_preprocessing(robot_dim=7).actions(model, None)
    assert actions.shape == (3, 7)
    assert actions.dtype == np.float32
    expected = np.array(OPENPI["normalisation"][0]["unnormalised_actions"])[:, :7]
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-6)


def test_actions_without_statistics_are_unchanged() -> None:
    model = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    assert (make_preprocessing(action=None).actions(model, None) == model[:, :8]).all()


def test_state_is_added_to_relative_actions_except_gripper() -> None:
    model = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    model.flags.writeable = False
    state = np.arange(8.0)
    plain, absolute = (
        make_preprocessing().actions(model, None),
        make_preprocessing(relative=(True,) * 7).actions(model, state),
    )
    np.testing.assert_allclose(absolute[:, :7], plain[:, :7] + np.arange(7), rtol=0, atol=1e-6)
    assert (absolute[:, 7] == plain[:, 7]).all()
    unscaled = make_preprocessing(action=None, relative=(True,) * 7).actions(model, state)
    np.testing.assert_allclose(unscaled[:, :7], model[:, :7] + np.arange(7), rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="relative to the robot's state"):
        make_preprocessing(relative=(True,) * 7).actions(model, None)
    with pytest.raises(UserError, match="first 7 are needed"):
        make_preprocessing(state=None, relative=(True,) * 7).actions(model, [0.0] * 6)


def test_only_masked_dimensions_get_the_state_back() -> None:
    model = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    mask = (False, True, False, True)
    plain, absolute = (
        make_preprocessing().actions(model, None),
        make_preprocessing(relative=mask).actions(model, np.arange(1.0, 9.0)),
    )
    np.testing.assert_allclose(absolute - plain, [[0, 2, 0, 4, 0, 0, 0, 0]] * 5, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("length", "filled"), [(32, 7), (14, 6)])
def test_padding_of_a_state_is_no_value_of_it(length: int, filled: int) -> None:
    bounds = {"q01": np.zeros(length), "q99": np.zeros(length)}
    bounds["q99"][:filled] = 1.0
    padded = make_preprocessing(state=Normaliser("openpi_quantile", bounds))
    assert padded.state_lengths == (filled, length)
    state = np.zeros(length)
    state[:filled] = 0.5
    assert padded.robot_state(state).tolist() == [0.5] * filled
    table = padded.prompt("go", state, TOKENS)
    assert len(table.text.partition("State: ")[2].partition(";")[0].split()) == length  # as it was trained
    assert table.state_index.max() == filled - 1
    assert table.state_bins.tolist() == [127] * filled
    state[-1] = 3.0  # not padding after all
    assert padded.robot_state(state).tolist() == state.tolist()
    assert padded.robot_state(state[:filled]).tolist() == [0.5] * filled


# Pictures


PHOTO = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def test_picture_is_resized_as_in_openpi_and_lerobot() -> None:
    openpi = make_preprocessing().picture(PHOTO)
    assert (openpi.model_u8 == resize_pil(PHOTO)).all()
    assert (openpi.pixels == to_pixels(openpi.model_u8)).all()
    current = make_preprocessing(resize="torch").picture(PHOTO)
    assert (current.pixels == resize_torch(PHOTO)).all()
    assert (to_pixels(current.model_u8) - current.pixels).abs().max() <= 1 / 255 + 1e-6
    old = make_preprocessing(resize="torch_0.4").picture(PHOTO)
    assert (old.pixels[:, :49] == -3).all()
    assert (old.pixels[:, 49:175] == current.pixels[:, 49:175]).all()
    assert (old.model_u8 == current.model_u8).all()
    assert openpi.letterbox.bars.sum() == 96


@pytest.mark.parametrize("resize", ["pil", "torch"])
def test_picture_is_rotated_before_resizing(resize: str) -> None:
    turned = make_preprocessing(resize=resize, turned=True).picture(PHOTO)
    by_hand = make_preprocessing(resize=resize).picture(np.ascontiguousarray(PHOTO[::-1, ::-1]))
    assert (turned.model_u8 == by_hand.model_u8).all()
    assert (turned.pixels == by_hand.pixels).all()
    assert turned.letterbox.turned
    assert not by_hand.letterbox.turned
    told_twice = make_preprocessing(resize=resize, turned=True).picture(PHOTO, turned=True)
    for by_source in (make_preprocessing(resize=resize).picture(PHOTO, turned=True), told_twice):
        assert (by_source.pixels == by_hand.pixels).all()  # said by option and by source, it is turned once
        assert by_source.letterbox.turned


@pytest.mark.parametrize("resize", ["pil", "torch"])
def test_strided_picture_arrays_are_read_correctly(resize: str) -> None:
    """Readers hand out mirrored, cropped and read-only views."""
    view = PHOTO[::-1, 20:140:2]
    view.flags.writeable = False
    picture = make_preprocessing(resize=resize).picture(view)
    assert (picture.model_u8 == make_preprocessing(resize=resize).picture(view.copy()).model_u8).all()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_array_that_is_not_a_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(UserError, match="must be uint8"):
        make_preprocessing().picture(image)
