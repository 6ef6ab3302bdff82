"""Scores that are computed while capturing, in torch, are those that the viewer computes from maps, in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from toy_policy import ToySpec

from capture.observation import Observation
from capture.policies.base import Prepared
from capture.policies.region_scores import ScoreTensors, change, map_entropy, score_regions, score_tensors, score_text
from capture.results import scores_schema
from capture.results.regions_schema import choose_patches
from viewer.analysis import scores
from viewer.model import attention

GRID = (8, 8)
CAMERAS = ("front", "top")
ROWS = 40


def prepare_frame(coverage: npt.NDArray[np.float32] | None, prompt: str = "put it down") -> Prepared:
    """A wide and a tall picture, so that both have letterbox bars."""
    sizes = {"front": (48, 96), "top": (96, 60)}
    pictures = {name: np.zeros((*size, 3), np.uint8) for name, size in sizes.items()}
    shown = Observation(pictures, prompt, np.zeros(2))
    spec = ToySpec()
    return Prepared(shown, spec.prepare_pictures(shown), spec.tokenise(prompt, shown.state), coverage)


def make_coverages() -> npt.NDArray[np.float32]:
    """In both cameras; in one; known to be absent; not known; in one of whose cameras it is absent; barely covered."""
    coverage = np.zeros((6, 2, *GRID), np.float32)
    coverage[0, 0, 3:5, 2:4], coverage[0, 1, 6, 3] = 1, 0.75
    coverage[1, 1, 2:6, 2:6] = 1
    coverage[1, 0] = np.nan
    coverage[3] = np.nan
    coverage[4, 0, 2:6] = 1
    coverage[5, 1, 4, 4], coverage[5, 1, 4, 5] = 0.1, 0.04
    return coverage


def find_bars(frame: Prepared) -> npt.NDArray[np.bool_]:
    return np.stack([picture.letterbox.bars for picture in frame.pictures.values()])


def covered_patches(coverage: npt.NDArray[np.float32]) -> tuple[tuple[int, int, int], ...]:
    patches = []
    for camera, shares in enumerate(coverage):
        if not np.isnan(shares).all():
            patches += [(camera, row, col) for row, col in np.argwhere(choose_patches(np.nan_to_num(shares))).tolist()]
    return tuple(patches)


def random_maps(kind: str) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(5)
    maps = np.exp(2.5 * rng.standard_normal((ROWS, 2, *GRID), dtype=np.float32))
    maps /= 1.3 * maps.reshape(ROWS, -1).sum(1)[:, None, None, None]
    if kind == "uniform":
        maps[:] = np.float32(1 / 128)
    elif kind == "one patch":
        maps[:] = 0
        for row in range(ROWS):
            maps[row, row % 2, 3 + row % 3, row % 8] = 1
    elif kind == "ties":  # few values, as bfloat16 has, many of them equal, also the largest
        maps = np.round(maps * 60) / np.float32(60)
    elif kind == "no weight":
        maps[::3] = 0
        maps[1::3, 1] = 0  # none in one camera
    elif kind == "weight on bars alone":
        maps[:, ~find_bars(prepare_frame(None))] = 0
    elif kind == "tiny":
        maps *= np.float32(1e-30)
    return maps


@pytest.mark.parametrize(
    "kind", ["random", "uniform", "one patch", "ties", "no weight", "weight on bars alone", "tiny"]
)
def test_captured_scores_of_regions_equal_those_of_the_viewer(kind: str) -> None:
    frame, maps = prepare_frame(make_coverages()), random_maps(kind)
    captured = score_regions(torch.from_numpy(maps).reshape(1, ROWS, -1), score_tensors([frame]))
    lengths = set()
    for number, coverage in enumerate(make_coverages()):
        mass, lift, hit, iou = (values[0, number].numpy() for values in captured)
        if np.isnan(coverage).all():
            assert all(np.isnan(values).all() for values in (mass, lift, hit, iou))
            continue
        region = covered_patches(coverage)
        lengths.add(len(region))
        np.testing.assert_allclose(mass, scores.region_mass(maps, region), rtol=1e-6, atol=0)
        np.testing.assert_allclose(lift, scores.lift(maps, region, find_bars(frame)), rtol=1e-6, atol=0)
        np.testing.assert_array_equal(hit, scores.hit(maps, region, find_bars(frame)))
        np.testing.assert_allclose(iou, scores.iou90(maps, region, find_bars(frame)), rtol=1e-6, atol=0)
    assert lengths == {5, 16, 0, 32, 1}


def test_batched_scores_equal_those_of_single_frames() -> None:
    """The frames of a batch differ in their regions, in how many they have and in their words."""
    few = make_coverages()[:2].copy()
    few[0, 1] = np.nan
    batch = [prepare_frame(make_coverages()), prepare_frame(few, "go"), prepare_frame(None)]
    maps = torch.from_numpy(np.stack([random_maps("random"), random_maps("ties"), random_maps("random")])).flatten(2)
    batched = score_regions(maps, score_tensors(batch))
    for row, frame in enumerate(batch):
        single_frame = score_regions(maps[row : row + 1], score_tensors([frame]))
        count = 0 if frame.coverage is None else len(frame.coverage)
        for of_batch, of_frame in zip(batched, single_frame, strict=True) if count else ():
            torch.testing.assert_close(of_batch[row, :count], of_frame[0], rtol=1e-6, atol=0, equal_nan=True)
        assert all(torch.isnan(of_batch[row, count:]).all() for of_batch in batched)


@pytest.mark.parametrize("kind", ["random", "uniform", "one patch", "no weight", "weight on bars alone", "tiny"])
def test_captured_entropy_equals_that_of_the_viewer(kind: str) -> None:
    maps, shown = random_maps(kind), find_bars(prepare_frame(None))
    entropies = map_entropy(torch.from_numpy(maps).reshape(1, ROWS, -1), torch.from_numpy(~shown).reshape(1, -1))
    np.testing.assert_allclose(entropies[0].numpy(), attention.entropy(maps, ~shown), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_captured_change_over_steps_equals_that_of_the_viewer(steps: int) -> None:
    maps = (
        random_maps("random").reshape(5, 8, 2, *GRID)[:, :4].reshape(5, 4, -1)[:, :steps]
    )  # (actions, steps, patches)
    heads = np.stack([maps, maps[::-1]], 2)  # (H, S, N, P)
    changes = change(torch.from_numpy(heads)[None])[0].numpy()
    for action in range(5):
        np.testing.assert_allclose(changes[action], attention.change(heads[action][None])[0], rtol=1e-6, atol=1e-7)


def with_words(frame: Prepared, words: list[int]) -> Prepared:
    """The same tokens, joined to these words; all but the first belong to the prompt."""
    return replace(frame, tokens=replace(frame.tokens, word=np.array([-1, *words], np.int32)))


@pytest.mark.parametrize("kind", ["random", "ties"])
def test_scores_of_words_are_those_of_the_mean_of_their_tokens(kind: str) -> None:
    frame = with_words(prepare_frame(make_coverages(), "a b c d e f"), [0, 0, 0, 1, 2, 2])
    maps = random_maps(kind)[:7]  # tokens; one layer, one head
    captured = score_text([torch.from_numpy(maps)[None, :, None]], score_tensors([frame]))
    region = covered_patches(make_coverages()[0])
    for word, tokens in enumerate([(0,), (1, 2, 3), (4,), (5, 6)]):
        parts = [maps[token] for token in tokens]
        mean = parts[0] if len(parts) == 1 else np.mean(parts, axis=0, dtype=np.float32)
        for measure, expected in (
            ("mass", scores.region_mass(mean, region)),
            ("lift", scores.lift(mean, region, find_bars(frame))),
            ("hit", scores.hit(mean, region, find_bars(frame))),
            ("iou90", scores.iou90(mean, region, find_bars(frame))),
        ):
            stored = captured[scores_schema.region_score("text", measure)][0, 0, 0, word, 0].numpy()
            np.testing.assert_allclose(stored, expected, rtol=1e-6, err_msg=f"{measure} of word {word}")
        stored = captured[scores_schema.WORD_ENTROPY][0, 0, word, 0].numpy()
        np.testing.assert_allclose(stored, attention.entropy(mean, ~find_bars(frame)), rtol=1e-6)


def test_words_missing_from_a_prompt_have_no_scores() -> None:
    batch = [prepare_frame(make_coverages(), "a b c d"), prepare_frame(make_coverages(), "a")]
    tensors = score_tensors(batch)
    assert isinstance(tensors, ScoreTensors)
    maps = torch.from_numpy(np.stack([random_maps("random")[:5]] * 2))[:, :, None]
    captured = score_text([maps], tensors)
    assert torch.isfinite(captured[scores_schema.WORD_ENTROPY][0]).all()
    assert torch.isfinite(captured[scores_schema.WORD_ENTROPY][1, :, :2]).all()
    for values in (captured[scores_schema.WORD_ENTROPY][1], *captured["scores/text/mass"][1]):
        assert torch.isnan(values[:, 2:]).all()
