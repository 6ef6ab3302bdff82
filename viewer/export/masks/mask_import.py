"""Read masks that other programs made: COCO JSON, label pictures, npz arrays and segmentation data sets of HDF5 files.

Each reader yields `FoundMask`s. Which frame a mask belongs to comes from the last number in its file's name, else from
its place; which camera, from a folder's name or an array's, else from what the caller says.
"""

from __future__ import annotations

import json
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from viewer.errors import UserError
from viewer.export.masks import mask_check, run_length
from viewer.export.masks.mask_check import is_inside
from viewer.io import hdf5_guard, open_file
from viewer.io.hdf5_guard import Guarded
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from viewer.regions.region import Mask

MAX_JSON: Final = 500 << 20
MAX_ARRAY: Final = 4 << 30
"""Bytes of one array of an npz file."""
MAX_LABELS: Final = 1000
_NPZ_ERRORS: Final = (
    *(OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError, EOFError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, tokenize.TokenError),
)
"""What numpy, zipfile and zlib raise for a damaged npz; the header of an array is text that numpy parses."""
_PICTURES: Final = frozenset({".png", ".tif", ".tiff", ".bmp", ".webp"})
"""Of label pictures; JPEG changes labels."""


@dataclass(frozen=True)
class FoundMask:
    """The mask of one region in one picture."""

    name: str
    camera: str | None
    """None where the source does not say."""
    frame: int
    mask: Mask


@dataclass(frozen=True)
class MaskSource:
    """Where masks come from, and what the source itself does not say."""

    path: Path
    dataset: str = ""
    """Of an HDF5 file: the path of the data set."""
    cameras: tuple[str, ...] = ()
    """Names of the results file's cameras, to be recognised in names of files, folders and arrays."""
    names: Mapping[int, str] | None = None
    """Label -> region; other labels are called `label N`, or left out where `names` is given."""

    def name_of(self, label: int) -> str | None:
        """Return the region that a label stands for; None for one to be left out."""
        if self.names is None:
            return f"label {label}"
        return self.names.get(label)


def read_masks(source: MaskSource) -> Iterator[FoundMask]:
    """Yield the masks of a file or folder of any of the forms.

    Raises:
        UserError: It is of no known form, or damaged.
    """
    path = source.path
    if path.is_dir():
        yield from _read_pictures(source)
    elif not path.exists():
        raise UserError(f"There is no file {path}; check the path.")
    elif path.suffix == ".json":
        yield from _read_coco(source)
    elif path.suffix == ".npz":
        yield from _read_npz(source)
    elif path.suffix in {".hdf5", ".h5"}:
        yield from _read_hdf5(source)
    else:
        raise UserError(
            f"{path.name} is of no form that is known; give COCO’s JSON, a folder of label pictures (PNG), "
            "an npz of masks, or an HDF5 file and its data set (file.hdf5:data/demo_0/obs/…)."
        )


def split_source(text: str) -> tuple[Path, str]:
    """Return the file and the data set of `FILE.hdf5:DATASET`, or a path alone."""
    match = re.fullmatch(r"(.+\.(?:hdf5|h5)):(.+)", text)
    return (Path(match[1]), match[2].strip("/")) if match and not Path(text).exists() else (Path(text), "")


def find_frame(name: str) -> int | None:
    """Return the last number in a file's name: 12 of `frame_000012.png`; None if there is none."""
    numbers = re.findall(r"\d+", Path(name).stem)
    return int(numbers[-1]) if numbers and len(numbers[-1]) < 10 else None


def find_camera(parts: Sequence[str], cameras: Sequence[str]) -> str | None:
    """Return the camera that one of several names, the last one first, is or begins with."""
    for part in reversed(parts):
        for camera in sorted(cameras, key=len, reverse=True):
            if re.match(rf"{re.escape(camera)}(?![A-Za-z0-9])", part):
                return camera
    return None


def _read_pictures(source: MaskSource) -> Iterator[FoundMask]:
    """Yield the masks of label pictures: `CAMERA/000012.png` or `000012.png`, a label a pixel, 0 for nothing.

    In a folder for each object, as SAM 2 writes with `--per_obj_png_file`, the folder names the region.
    """
    paths = sorted(path for path in source.path.rglob("*") if path.suffix.lower() in _PICTURES and path.is_file())
    if not paths:
        raise UserError(f"{source.path} holds no label pictures (PNG); JPEG cannot hold labels.")
    for path in paths:
        parts = path.relative_to(source.path).parts
        frame = find_frame(parts[-1])
        if frame is None:
            raise UserError(
                f"The name {parts[-1]} has no number; label pictures are called by their frame: 000012.png."
            )
        camera = find_camera(parts, source.cameras)
        objects = [part for part in parts[:-1] if part not in source.cameras]
        labels = _read_labels(path)
        if objects:  # a folder an object
            label = int(objects[-1]) if objects[-1].isdecimal() else None
            name = objects[-1] if label is None else source.name_of(label)
            if name is not None:
                yield FoundMask(name, camera, frame, labels != 0)
        else:
            yield from _split_labels(source, labels, camera, frame)


def _read_labels(path: Path) -> npt.NDArray[np.integer[Any]]:
    """Return the labels of a picture (height, width): palette numbers or grey values."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode not in {"P", "L", "I", "I;16", "1"}:
                raise UserError(
                    f"{path.name} is a colour picture; labels are palette numbers or grey values, one an object."
                )
            labels = np.array(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} cannot be read as a picture ({open_file.shorten_error(error)}).") from None
    return labels.astype(np.int64)


def _split_labels(source: MaskSource, labels: npt.NDArray[Any], camera: str | None, frame: int) -> Iterator[FoundMask]:
    """Yield a mask for each label above 0. A named label that a picture lacks is known to be absent from it."""
    present = [int(label) for label in np.unique(labels) if label > 0]
    if len(present) > MAX_LABELS:
        raise UserError(f"A picture of {source.path.name} has {len(present)} labels; it is no picture of labels.")
    for label in sorted({*present, *(source.names or {})}):
        name = source.name_of(label)
        if name is not None:
            yield FoundMask(name, camera, frame, labels == label)


def _read_npz(source: MaskSource) -> Iterator[FoundMask]:
    """Yield the masks of arrays (frames, height, width): bool ones by their name, whole numbers by label.

    The names are `duck`, `exterior` or `exterior/duck`.
    """
    try:
        with np.load(source.path, allow_pickle=False) as archive:
            for key in archive.files:
                with archive.zip.open(f"{key}.npy") as stream:
                    version = np.lib.format.read_magic(stream)
                    read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                    shape, _, dtype = read_header(stream)
                if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_ARRAY or len(shape) != 3:
                    raise UserError(
                        f"The array {clean_text(key)} of {source.path.name} has shape {shape}; masks are "
                        "(frames, height, width)."
                    )
                yield from _read_array(source, key, archive[key])
    except _NPZ_ERRORS as error:
        raise UserError(f"{source.path.name} cannot be read as npz ({open_file.shorten_error(error)}).") from None


def _read_array(source: MaskSource, key: str, array: npt.NDArray[Any]) -> Iterator[FoundMask]:
    parts = key.split("/")
    camera = find_camera(parts, source.cameras)
    names = [part for part in parts if part != camera]
    if array.dtype == np.bool_:
        name = names[-1] if names else "region"
        yield from (FoundMask(name, camera, frame, mask) for frame, mask in enumerate(array))
    elif array.dtype.kind in "iu":
        for frame, labels in enumerate(array):
            yield from _split_labels(source, labels, camera, frame)
    else:
        raise UserError(
            f"The array {clean_text(key)} of {source.path.name} holds {array.dtype}; masks are bool, "
            "labels whole numbers."
        )


def _read_hdf5(source: MaskSource) -> Iterator[FoundMask]:
    """Yield the masks of a data set (frames, height, width[, 1]) of labels, as robosuite and LIBERO store them."""
    if not source.dataset:
        raise UserError(
            f"Say which data set of {source.path.name} holds the labels: "
            f"{source.path.name}:data/demo_0/obs/agentview_segmentation_instance"
        )
    mask_check.check_dataset(source.path, source.dataset)
    with open_file.open_hdf5(source.path) as file:
        guard = Guarded(file, source.path)
        candidate: Any = file.get(source.dataset) if is_inside(file, source.dataset) else None
        axes = candidate.ndim if hasattr(candidate, "ndim") else 3
        dataset = guard.find(source.dataset, axes)
        if (
            dataset is None
            or axes not in {3, 4}
            or (axes == 4 and dataset.shape[3] != 1)
            or dataset.dtype.kind not in "iu"
        ):
            raise UserError(
                f"{source.path.name} has no data set {source.dataset} of labels (frames, height, width); "
                "check its name."
            )
        parts = source.dataset.split("/")
        camera = find_camera(parts, source.cameras)
        for frame in range(dataset.shape[0]):
            labels = hdf5_guard.read(dataset, (frame,))
            yield from _split_labels(source, labels.reshape(labels.shape[:2]), camera, frame)


def _read_coco(source: MaskSource) -> Iterator[FoundMask]:
    """Yield the masks of COCO's JSON; parts of one category in one picture are joined."""
    path = source.path
    if path.stat().st_size > MAX_JSON:
        raise UserError(f"{path.name} is larger than {MAX_JSON >> 20} MB; split it.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {picture["id"]: picture for picture in content["images"]}
        categories = {category["id"]: str(category["name"]) for category in content["categories"]}
        joined: dict[tuple[str, str | None, int], Mask] = {}
        for image in images.values():  # a category that a picture lacks is known to be absent from it
            key = _place_of(image, source)
            for name in categories.values():
                joined[name, *key] = np.zeros(_size_of(image), np.bool_)
        for annotation in content["annotations"]:
            image = images[annotation["image_id"]]
            key = _place_of(image, source)
            mask = _decode_segmentation(annotation["segmentation"], *_size_of(image))
            joined[categories[annotation["category_id"]], *key] |= mask
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, OSError) as error:
        raise UserError(f"{path.name} cannot be read as COCO’s JSON ({open_file.shorten_error(error)}).") from None
    for (name, camera, frame), mask in joined.items():
        yield FoundMask(name, camera, frame, mask)


def _place_of(image: dict[str, Any], source: MaskSource) -> tuple[str | None, int]:
    name = str(image.get("file_name", ""))
    frame = find_frame(name)
    if frame is None:
        raise ValueError(f"the picture {clean_text(name)[:60]} has no number in its name, which says its frame")
    return find_camera(Path(name).parts, source.cameras), frame


def _size_of(image: dict[str, Any]) -> tuple[int, int]:
    height, width = int(image["height"]), int(image["width"])
    if not 0 < height < 65536 or not 0 < width < 65536 or height * width > 1 << 26:
        raise ValueError(f"a picture of {height} × {width} pixels")
    return height, width


def _decode_segmentation(segmentation: object, height: int, width: int) -> Mask:
    if isinstance(segmentation, dict):
        mask = run_length.decode(segmentation)
        if mask.shape != (height, width):
            raise ValueError("a mask is of another size than its picture")
        return mask
    mask = np.zeros((height, width), np.bool_)
    for polygon in segmentation if isinstance(segmentation, list) else [None]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon is no list of x and y")
        mask |= fill_polygon(np.array(polygon, np.float64).reshape(-1, 2), height, width)
    return mask


def fill_polygon(corners: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    """Return the mask (height, width) of the pixels whose centres lie inside a polygon, by the even-odd rule.

    `corners`: (n, 2) x and y, where pixel 0 reaches from 0 to 1.
    """
    if not np.isfinite(corners).all():
        raise ValueError("a polygon is no list of x and y")
    x, y = corners.T
    x_end, y_end = np.roll(x, -1), np.roll(y, -1)
    mask = np.zeros((height, width), np.bool_)
    centres = np.arange(width) + 0.5
    first, last = max(int(np.floor(y.min())), 0), min(int(np.ceil(y.max())), height)
    for row in range(first, last):
        level = row + 0.5
        crossed = (y <= level) != (y_end <= level)
        where = x[crossed] + (level - y[crossed]) * (x_end - x)[crossed] / (y_end - y)[crossed]
        mask[row] = (where[:, None] <= centres).sum(0) % 2 == 1
    return mask
