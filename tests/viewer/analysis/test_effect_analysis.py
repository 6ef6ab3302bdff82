"""Effects in words and numbers: sentences, scenes, films and scores of heads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import make_effects
import numpy as np
import pytest

from viewer.analysis import scene
from viewer.analysis.atlas import score_heads
from viewer.analysis.caption import caption
from viewer.analysis.effects import measured as effects
from viewer.analysis.effects.head_scatter import read_scatter
from viewer.analysis.film import read_film, read_film_over_frames
from viewer.analysis.scores import find_score, find_unavailable_scores
from viewer.io.effects import Effects, attach
from viewer.model.effects import Method, TargetEffect
from viewer.model.noise_multiples import format_multiple
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.results import Results

VIEW = ViewState(query=Query("action", (4,)), measure="effect")


@pytest.fixture
def measured(results: Results, small: Path, tmp_path: Path) -> Results:
    attach(results, Effects(make_effects.write(tmp_path / "small.effects.h5", small)))
    return results


def make_target_effect(**values: object) -> TargetEffect:
    effect = TargetEffect(
        name="duck", kind="region", cells=frozenset({(0, 7, 8)}), tokens=(), method=Method(),
        effect=0.2, effect_of_action=np.array([0.1, 0.41]), floor=0.1, floor_of_action=np.array([0.1, 0.1]),
        controls=np.linspace(0.01, 0.05, 20), controls_of_action=np.full((20, 2), 0.03),
        baseline=None, change=None, control_changes=None,
    )  # fmt: skip
    return replace(effect, **values)


def test_sentence_compares_the_effect_with_random_regions() -> None:
    who, moves = effects.describe_target(make_target_effect(), Query("action", (1,)))
    assert who == "action 1"
    assert moves == (
        "moves 4.1 × the noise when these patches are hidden from the actions (random areas of the same shape: 0.3 × "
        "(median), 20 of 20 smaller)"
    )


def test_sentence_of_words_is_of_the_whole_chunk() -> None:
    assert " ".join(effects.describe_target(make_target_effect(), Query("text", (3,)))) == (
        "the actions move 2.0 × the noise when these patches are hidden from the actions (random areas of the same "
        "shape: 0.3 × (median), 20 of 20 smaller)"
    )


def test_sentence_without_controls_of_the_action_is_of_the_chunk() -> None:
    who, moves = effects.describe_target(make_target_effect(controls_of_action=None), Query("action", (1,)))
    assert (who, moves[:19]) == ("the chunk", "moves 2.0 × the noi")


def test_sentence_without_controls_names_none() -> None:
    effect = make_target_effect(controls=np.zeros(0), controls_of_action=None, method=Method("occlude", fill="blur"))
    _, moves = effects.describe_target(effect, Query("action", (0,)))
    assert moves == "moves 1.0 × the noise when these patches are blurred"


@pytest.mark.parametrize(
    ("method", "phrase"),
    [
        (Method(), "hidden from the actions"),
        (Method(queries="all", layers=(0, 1, 2, 5), heads=(3,)),
         "hidden from words, patches and actions in layers 0–2, 5 in head 3"),
        (Method(queries="words"), "hidden from the words"),
        (Method("occlude"), "covered with the mean colour of the rest"),
        (Method("occlude", fill="grey"), "covered with grey"),
        (Method("occlude", fill="blur"), "blurred"),
        (Method("occlude", fill="inpaint"), "covered by inpainting from around"),
        (Method("occlude", fill="frame:3"), "covered with the pixels of frame 3"),
        (Method("random-masks", masks=256), "covered with the mean colour of the rest, beside a random half of all blocks "
         "(ridge regression on 256 random masks)"),
    ],
)  # fmt: skip
def test_method_is_described_in_words(method: Method, phrase: str) -> None:
    assert method.phrase == phrase


@pytest.mark.parametrize(
    ("value", "text"), [(4.12, "4.1 ×"), (0.016, "0.016 ×"), (0.3, "0.3 ×"), (250.4, "250 ×"), (float("nan"), "–")]
)
def test_multiples_have_two_digits(value: float, text: str) -> None:
    assert format_multiple(value) == text


def test_scene_holds_multiples_on_one_range_from_0(measured: Results) -> None:
    composed = scene.compose(measured, VIEW)
    assert composed.effect is not None
    assert composed.maps[0, 7, 3] == pytest.approx(7.03 / make_effects.FLOOR)
    assert composed.maps[0, 0, 0] == 0, "not measured"
    assert composed.ranges[0][0] == 0
    assert 20 < composed.ranges[0][1] <= 10.16 / make_effects.FLOOR
    assert composed.ranges[0] == composed.ranges[1]
    locked = scene.compose(measured, replace(VIEW, range="locked", low=1, high=3))
    assert locked.ranges == ((1, 3), (1, 3))


def test_scene_of_words_is_of_the_chunk(measured: Results) -> None:
    words = scene.compose(measured, replace(VIEW, query=Query("text", (3,))))
    assert words.maps[0, 7, 3] == pytest.approx(7.03 / make_effects.FLOOR)
    assert caption(measured, replace(VIEW, query=Query("text", (3,)))).subject == "The actions"


def test_caption_of_a_map_names_the_patch_with_the_largest_effect(measured: Results) -> None:
    text = caption(measured, VIEW)
    assert text.subject == "Action 4"
    assert text.place == "moves up to 20.3 × the noise when a block of 2 × 2 patches is hidden from the actions"
    assert text.details == (
        "most: exterior (10, 15) · noise 2.5 (root mean square, normalised units, 2 seeds) · one scale for all cameras"
    )


def test_caption_of_a_measured_region_is_its_sentence(measured: Results) -> None:
    sentence = caption(measured, replace(VIEW, region=make_effects.BOX))
    assert str(sentence).startswith(
        "Action 4 moves 4.0 × the noise when these patches are hidden from the actions (random"
    )
    assert "4 of 4 smaller" in sentence.place


def test_frame_without_a_map_is_reported(measured: Results) -> None:
    view = replace(VIEW, frame=1)
    composed = scene.compose(measured, view)
    assert not composed.maps.any()
    assert str(caption(measured, view)).startswith(
        "No effects: frame 1 has no effect map, frame 0 has one; “pi0-capture effects small.h5 --frames 1 --map 2”"
    )


def test_file_without_effects_explains_how_to_measure_them(results: Results) -> None:
    reason = effects.find_map_unavailable_reason(results, 0)
    assert reason == (
        "there is no effect map of this file; “pi0-capture effects small.h5 --frames 0 --map 2” makes one"
    )


def test_gradient_is_the_mean_relevance_of_the_dimensions(measured: Results) -> None:
    view = replace(VIEW, measure="gradient")
    composed = scene.compose(measured, view)
    assert composed.effect is not None
    assert composed.effect.dims == (0, 2)
    assert composed.maps[0, 7, 3] == pytest.approx(7.03 * 5 * 0.002)
    assert composed.effect.format_value(0.0703) == "0.07"
    assert str(caption(measured, view)).startswith(
        "Action 4 takes from these patches what raises dimensions 0, 2 (mean) of the actions (attention × gradient, "
        "positive parts, Chefer et al. 2021) most: exterior (10, 15) · one scale"
    )
    assert str(caption(measured, replace(view, frame=1))).startswith("No gradients: frame 1 has no gradients; “pi0-")


def test_map_from_random_masks_names_how_much_more_the_actions_move(
    results: Results, small: Path, tmp_path: Path
) -> None:
    path = make_effects.write(tmp_path / "small.effects.h5", small, mode="random-masks", fill="grey", masks=64)
    with h5py.File(path, "a") as file:
        file["masks/explained"] = np.float32([0.87])
    attach(results, Effects(path))
    assert str(caption(results, VIEW)).startswith(
        "Action 4 moves up to 20.3 × the noise more when a block of 2 × 2 patches is covered with grey, beside a random "
        "half of all blocks (ridge regression on 64 random masks) most: exterior (10, 15) · the map predicts 87 % of "
        "the variance of masks left out of it · noise 2.5 "
    )


def test_replaced_word_is_described_as_replaced() -> None:
    effect = make_target_effect(name="duck -> mug", kind="replacement", method=Method("occlude"))
    assert effect.phrase == "replaced by “mug”"


def test_gradient_of_one_dimension_is_its_own_relevance(measured: Results) -> None:
    view = replace(VIEW, measure="gradient", dim=2)
    composed = scene.compose(measured, view)
    assert composed.effect is not None
    assert composed.effect.dims == (2,)
    assert composed.maps[0, 7, 3] == pytest.approx(7.03 * 5 * 0.003)
    assert "what raises dimension 2 of the actions (attention × gradient, " in caption(measured, view).place
    lacking = replace(view, dim=1)
    assert not scene.compose(measured, lacking).maps.any()
    assert str(caption(measured, lacking)).startswith(
        "No gradients: frame 0 has no gradient of action dimension 1, but those of dimensions 0, 2."
    )


def test_effect_on_one_dimension_is_in_multiples_of_its_own_noise(measured: Results) -> None:
    view = replace(VIEW, dim=1)
    composed = scene.compose(measured, view)
    assert composed.effect is not None
    assert composed.effect.floor == pytest.approx(make_effects.FLOOR)
    assert composed.maps[0, 7, 3] == pytest.approx(7.03 * 2 / make_effects.FLOOR, rel=1e-5)
    words = caption(measured, view)
    assert words.subject == "Dimension 1 of the actions"
    assert words.place.startswith("moves up to 40.6 × its noise when a block of 2 × 2 patches is hidden from")
    assert effects.find_dims(measured, 0, "effect") == (0, 1, 2)
    assert effects.find_dims(measured, 0, "gradient") == (0, 2)


def test_film_over_layers_shows_the_attention(measured: Results) -> None:
    film = read_film(measured, VIEW)
    np.testing.assert_array_equal(film.maps, read_film(measured, replace(VIEW, measure="weight")).maps)


def test_film_over_frames_shows_effects_where_there_are_some(measured: Results) -> None:
    film = read_film_over_frames(measured, replace(VIEW, film="frames"), (0, 1), lambda: False)
    assert film is not None
    assert film.maps[0, 0, 0, 7, 3] == pytest.approx(7.03 / make_effects.FLOOR)
    assert np.isnan(film.maps[0, 1]).all()


def test_head_scores_come_from_the_file(measured: Results) -> None:
    layers, heads, steps = len(measured.layers), measured.heads, len(measured.steps)
    of_chunk = np.linspace(-1, 1, layers * steps * heads, dtype=np.float32).reshape(layers, steps, heads)
    view = replace(VIEW, step=1)
    for name, expected in (
        ("agreement", of_chunk[:, 1] / 2),
        ("deletion", of_chunk[:, 1] / 4),
        ("insertion", of_chunk[:, 1] / 8),
        ("knockout", np.arange(layers * heads).reshape(layers, heads) / make_effects.FLOOR),
    ):
        values = score_heads(measured, replace(view, score=name))
        np.testing.assert_allclose(values[:, :-1], expected, rtol=1e-5)
        assert np.isnan(values[:, -1]).all(), "nothing is known of the mean of heads"
    chunk_view = replace(view, query=Query("action", tuple(range(measured.horizon))), score="agreement")
    np.testing.assert_allclose(score_heads(measured, chunk_view)[:, :-1], of_chunk[:, 1], rtol=1e-5)


def test_scores_that_are_not_measured_say_what_measures_them(measured: Results) -> None:
    assert not {"agreement", "deletion", "insertion", "knockout"} & set(find_unavailable_scores(measured, VIEW))
    words = find_unavailable_scores(measured, replace(VIEW, query=Query("text", (3,))))
    assert words["agreement"] == "effects are compared with the attention of actions: choose one"
    assert words["knockout"] == "not measured: pi0-capture effects small.h5 --frames 0 --heads words"
    unavailable = find_unavailable_scores(measured, replace(VIEW, frame=1))
    assert unavailable["deletion"] == "not measured: pi0-capture effects small.h5 --frames 1 --map 2 --curves"


def test_cells_of_signed_scores_fit() -> None:
    agreement = find_score("agreement")
    assert [agreement.format_cell(value) for value in (0.694, -0.12, 1.0)] == [".69", "−.12", "1.0"]
    assert agreement.format_value(0.694) == "0.69"
    assert agreement.format_value(float("nan")) == "none, not measured"


def test_scatter_has_a_point_for_each_head(measured: Results) -> None:
    scatter, reason = read_scatter(measured, VIEW, "knockout")
    assert not reason
    assert scatter is not None
    points = scatter.points()
    assert len(points) == len(measured.layers) * measured.heads
    layer, head, x, y = points[-1]
    assert y == pytest.approx((len(points) - 1) / make_effects.FLOOR)
    assert x == pytest.approx(score_heads(measured, replace(VIEW, score="picture"))[layer, head])
    assert read_scatter(measured, replace(VIEW, frame=1), "knockout")[1].startswith("not measured: ")
