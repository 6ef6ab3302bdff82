"""`--regions dataset`: masks that a data set brings, as regions of its episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("av", reason="the files of episodes are written with the extra [datasets]")

from episode_files import write_libero

from capture.datasets.base import SourceOptions
from capture.datasets.in_memory import InMemoryEpisode
from capture.datasets.regions.segmentation import DatasetRegions
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.observation import Observation

LIBERO = SourceOptions(("exterior", "wrist"), 10, 8, 7)
SHAPES = {"exterior": (32, 80), "wrist": (32, 80)}
NAMES = {3: "duck", 5: "bowl"}


def labels(frames: int) -> np.ndarray:
    """(frames, 32, 80, 1): the duck moves, the bowl lies still and is gone in the last frame."""
    pictures = np.zeros((frames, 32, 80, 1), np.int32)
    for frame in range(frames):
        pictures[frame, 4:8, 2 * frame : 2 * frame + 4] = 3
        if frame < frames - 1:
            pictures[frame, 20:30, 50:60] = 5
    return pictures


def open_episode(path: Path, *, names: object = None, change: Any = None) -> Any:
    write_libero(path, lengths=(6,))
    with h5py.File(path, "r+") as file:
        dataset = file.create_dataset("data/demo_0/obs/agentview_segmentation_instance", data=labels(6))
        if names is not None:
            dataset.attrs["names"] = json.dumps(names)
        if change is not None:
            change(file)
    return open_source(path, LIBERO).episodes[0]


@pytest.mark.parametrize("from_option", [True, False])
def test_labels_of_libero_become_masks(tmp_path: Path, from_option: bool) -> None:
    episode = open_episode(tmp_path / "a.hdf5", names=None if from_option else {"0": "none", "3": "duck", "5": "bowl"})
    regions = DatasetRegions(NAMES if from_option else {}).open(episode, SHAPES)
    assert regions.names == ("duck", "bowl")
    masks_of_frames = list(regions.read([0, 2, 5]))
    assert [masks.keys() for masks in masks_of_frames] == [
        {("duck", "exterior"), ("bowl", "exterior")}
    ] * 3  # no labels of the wrist
    for frame, masks in zip((0, 2, 5), masks_of_frames, strict=True):
        np.testing.assert_array_equal(masks["duck", "exterior"], labels(6)[frame, ..., 0] == 3)
    assert not masks_of_frames[2]["bowl", "exterior"].any()  # known not to be there
    assert [(decision.subject, decision.choice, decision.is_certain) for decision in regions.decisions] == [
        ("regions", "duck (label 3), bowl (label 5)", True)
    ]


def test_labels_of_one_name_are_one_region(tmp_path: Path) -> None:
    regions = DatasetRegions({3: "things", 5: "things"}).open(open_episode(tmp_path / "a.hdf5"), SHAPES)
    assert regions.names == ("things",)
    [masks] = regions.read([1])
    np.testing.assert_array_equal(masks["things", "exterior"], labels(6)[1, ..., 0] > 0)


def test_fingerprint_tells_other_names_apart(tmp_path: Path) -> None:
    episode = open_episode(tmp_path / "a.hdf5")
    first, same, renamed = (DatasetRegions(names).open(episode, SHAPES) for names in (NAMES, NAMES, {3: "duck"}))
    assert first.fingerprint == same.fingerprint != renamed.fingerprint


def removing_labels(file: h5py.File) -> None:
    del file["data/demo_0/obs/agentview_segmentation_instance"]


def replacing_labels(values: np.ndarray) -> Any:
    def change(file: h5py.File) -> None:
        removing_labels(file)
        file["data/demo_0/obs/agentview_segmentation_class"] = values

    return change


@pytest.mark.parametrize(
    ("change", "names", "sentence"),
    [
        (None, {}, r"does not say what its labels stand for .in its first frame there are 3, 5.; .* --region-names"),
        (removing_labels, NAMES, "holds no labels: no data set such as obs/agentview_segmentation_instance"),
        (
            replacing_labels(np.zeros((6, 30, 80), np.uint8)),
            NAMES,
            "has 80 x 30 pixels, and the exterior pictures have 80 x 32",
        ),
        (replacing_labels(np.zeros((5, 32, 80), np.uint8)), NAMES, "of 6 frames"),
        (replacing_labels(np.zeros((6, 32, 80), np.float32)), NAMES, "labels are whole numbers"),
    ],
)
def test_unusable_labels_get_a_sentence(tmp_path: Path, change: Any, names: dict[int, str], sentence: str) -> None:
    episode = open_episode(tmp_path / "a.hdf5", change=change)
    with pytest.raises(UserError, match=sentence):
        DatasetRegions(names).open(episode, SHAPES)


def test_source_without_masks_is_refused() -> None:
    episode = InMemoryEpisode([Observation({}, "")])
    with pytest.raises(UserError, match="--regions dataset finds no masks in these pictures"):
        DatasetRegions().open(episode, {})


class Masks:
    @property
    def names(self) -> Mapping[int, str]:
        return {1: "mug", 2: "duck"}

    def read(self, index: int) -> Mapping[str, np.ndarray]:
        return {"exterior": np.full((2, 2), index, np.uint8)}


class EpisodeWithMasks(InMemoryEpisode):
    masks = Masks()

    def read_without_pictures(self, frames: Sequence[int]) -> Iterator[Observation]:
        return (Observation({}, "", index=10 - frame) for frame in frames)


def test_masks_are_read_by_frame_number_of_the_source() -> None:
    regions = DatasetRegions().open(EpisodeWithMasks([]), {})
    assert regions.names == ("mug", "duck")
    masks_of_frames = list(regions.read([8, 9]))
    assert [masks["mug", "exterior"].all() for masks in masks_of_frames] == [False, True]
    assert [masks["duck", "exterior"].all() for masks in masks_of_frames] == [True, False]
