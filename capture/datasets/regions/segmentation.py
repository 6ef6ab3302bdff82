"""Regions from a data set's own segmentation: pictures of labels beside the cameras' pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import h5py
import numpy as np
import numpy.typing as npt

from capture.datasets import hdf5
from capture.datasets.base import Episode
from capture.datasets.hdf5_check import check_values
from capture.datasets.regions.source import Masks, RegionMasks
from capture.errors import UserError
from capture.provenance import Decision
from capture.results.regions_file import Masked
from capture.results.regions_file import Masks as ObjectMasks
from capture.results.regions_schema import is_name
from capture.results.scores_schema import MAX_REGIONS

KINDS: Final = ("instance", "class", "element")
"""What robosuite's `CAMERA_segmentation_KIND` tell apart; the first that a camera has is taken."""
NAMES_ATTRIBUTE: Final = "names"
"""Attribute of a data set of labels: a JSON object, label -> name."""
MAX_SHOWN: Final = 12


@runtime_checkable
class HasSegmentation(Protocol):
    """An episode that may hold pictures of labels."""

    def find_labels(self) -> LabelPlace:
        """Return where its labels are."""


@dataclass(frozen=True)
class LabelPlace:
    """Where the labels of an episode are."""

    file: Path
    datasets: Mapping[str, str]
    """Policy camera -> path of its data set of labels, (frames, height, width) or (frames, height, width, 1)."""
    length: int


@dataclass(frozen=True)
class DatasetRegions:
    """The segmentation of the data set itself; `names` says what its labels stand for, where it does not."""

    names: Mapping[int, str] = field(default_factory=dict)
    origin: str = "dataset"

    def open(self, episode: Episode, shapes: Mapping[str, tuple[int, int]]) -> RegionMasks:
        """See `RegionSource`."""
        if isinstance(episode, Masked) and episode.masks.names:
            return self._open_pictures(episode, episode.masks)
        if not isinstance(episode, HasSegmentation):
            raise UserError(
                f"--regions dataset finds no masks in {episode.name or 'these pictures'}: it reads those of an "
                "episode.json and the labels in HDF5 of LIBERO, robosuite and robomimic; import others with "
                "pi0-regions, and give --regions that file"
            )
        labels_place = episode.find_labels()
        labels_place = LabelPlace(
            labels_place.file,
            {camera: name for camera, name in labels_place.datasets.items() if camera in shapes},
            labels_place.length,
        )
        if not labels_place.datasets:
            raise UserError(
                f"{episode.name} of {labels_place.file} holds no labels: no data set such as "
                "obs/agentview_segmentation_instance; give --regions a file of pi0-regions"
            )
        with hdf5.opened(labels_place.file) as file:
            names = dict(self.names)
            for camera, name in labels_place.datasets.items():
                labels = _check_labels(labels_place, file, camera, name, shapes[camera])
                names = names or _stored_names(labels)
                if not names:
                    check_values(labels, [0])
                    present = np.unique(np.asarray(labels[0])).tolist()
                    listed = ", ".join(map(str, [value for value in present if value > 0][:MAX_SHOWN])) or "none"
                    raise UserError(
                        f"{name} of {labels_place.file} does not say what its labels stand for (in its first frame "
                        f"there are {listed}); name those to be scored: --region-names 3=duck,5=bowl"
                    )
        if len(names) > MAX_REGIONS:
            raise UserError(
                f"{labels_place.file} names {len(names)} labels; --region-names chooses at most {MAX_REGIONS}"
            )
        described = ", ".join(f"{name} (label {label})" for label, name in list(names.items())[:MAX_SHOWN])
        where = ", ".join(name.rpartition("/")[2] for name in labels_place.datasets.values())
        decision = Decision("regions", described, f"by --regions dataset, from {where}", is_certain=True)
        fingerprint = hashlib.sha256(
            json.dumps([list(names.items()), dict(labels_place.datasets)]).encode()
        ).hexdigest()
        return LabelMasks(tuple(names.items()), fingerprint, (decision,), labels_place)

    def _open_pictures(self, episode: Episode, masks: ObjectMasks) -> RegionMasks:
        """Return the objects in the pictures of an episode that comes with masks of them."""
        names = dict(self.names or masks.names)
        if len(names) > MAX_REGIONS:
            raise UserError(f"{episode.name} names {len(names)} objects; --region-names chooses at most {MAX_REGIONS}")
        described = ", ".join(list(dict.fromkeys(names.values()))[:MAX_SHOWN])
        decision = Decision("regions", described, "by --regions dataset, from the episode's own masks", is_certain=True)
        fingerprint = hashlib.sha256(json.dumps(list(names.items())).encode()).hexdigest()
        return PictureMasks(tuple(names.items()), fingerprint, (decision,), episode, masks)


@dataclass(frozen=True)
class LabelledMasks:
    """Masks whose values are labels of regions."""

    labels: tuple[tuple[int, str], ...]
    """Labels and the regions that they belong to."""
    fingerprint: str
    decisions: tuple[Decision, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return tuple(dict.fromkeys(name for _, name in self.labels))


@dataclass(frozen=True)
class PictureMasks(LabelledMasks):
    """Masks of the objects in an episode's pictures."""

    episode: Episode
    masks: ObjectMasks

    def read(self, frames: Sequence[int]) -> Iterator[Masks]:
        """Yield the masks of `frames` of the episode. An object that a mask lacks is known not to be seen."""
        for observation in self.episode.read_without_pictures(frames):
            yield split_labels(self.masks.read(observation.index), self.labels)


@dataclass(frozen=True)
class LabelMasks(LabelledMasks):
    """Masks of an episode's labels."""

    place: LabelPlace

    def read(self, frames: Sequence[int]) -> Iterator[Masks]:
        """Yield the masks of `frames` of the episode. A label that a picture lacks is known not to be in it."""
        with hdf5.opened(self.place.file) as file:
            datasets = {camera: hdf5.dataset(file, name) for camera, name in self.place.datasets.items()}
            for values in datasets.values():
                if values is not None:
                    check_values(values, frames)
            for frame in frames:
                shown = {
                    camera: np.asarray(values[frame]).reshape(values.shape[1:3])
                    for camera, values in datasets.items()
                    if values is not None
                }
                yield split_labels(shown, self.labels)


def split_labels(shown: Mapping[str, npt.NDArray[np.integer]], labels: Sequence[tuple[int, str]]) -> Masks:
    """Return the masks of regions in pictures of labels, by camera; labels of one name are one region."""
    masks: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
    for camera, picture in shown.items():
        for label, name in labels:
            mask = picture == label
            masks[name, camera] = masks[name, camera] | mask if (name, camera) in masks else mask
    return masks


def find_label_datasets(observed: h5py.Group, cameras: Mapping[str, str]) -> dict[str, str]:
    """Return policy camera -> name of the labels in `observed` for cameras of a source: policy camera -> its name.

    Those of `agentview_rgb` and `agentview_image` are called `agentview_segmentation_instance`, or `_class` or
    `_element`; those of LIBERO's `eye_in_hand_rgb` begin with `robot0_`.
    """
    label_names = {}
    for camera, name in cameras.items():
        stem = name.removesuffix("_rgb").removesuffix("_image")
        for candidate in (f"{prefix}{stem}_segmentation_{kind}" for kind in KINDS for prefix in ("", "robot0_")):
            if camera not in label_names and hdf5.dataset(observed, candidate) is not None:
                label_names[camera] = candidate
    return label_names


def _check_labels(place: LabelPlace, file: h5py.File, camera: str, name: str, size: tuple[int, int]) -> h5py.Dataset:
    labels = hdf5.dataset(file, name)
    shape = None if labels is None else labels.shape
    is_well = (
        labels is not None and labels.dtype.kind in "iu" and labels.ndim in (3, 4) and labels.shape[3:] in ((), (1,))
    )
    if not is_well or shape is None or shape[0] != place.length:
        raise UserError(
            f"{name} of {place.file} is {getattr(labels, 'dtype', 'missing')} of shape {shape}; labels are whole "
            f"numbers of shape (frames, height, width), of {place.length} frames"
        )
    if shape[1:3] != size:
        raise UserError(
            f"{name} of {place.file} has {shape[2]} x {shape[1]} pixels, and the {camera} pictures have "
            f"{size[1]} x {size[0]}"
        )
    return labels


def _stored_names(labels: h5py.Dataset) -> dict[int, str]:
    """Return what the labels stand for as the attribute `names` says, without 0; empty where it does not."""
    try:
        values = json.loads(hdf5.text(labels, NAMES_ATTRIBUTE) or "{}")
        named = {int(label): str(name) for label, name in values.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {label: name.strip() for label, name in named.items() if label > 0 and is_name(name.strip())}
