"""Write regions as other programs read them: COCO JSON, label pictures, npz arrays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from viewer.export import atomic_write
from viewer.export.masks import run_length

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from viewer.regions.region import Region, RegionSet

MaskFormat = Literal["coco", "labels", "npz"]
FORMATS: Final[tuple[MaskFormat, ...]] = ("coco", "labels", "npz")


def picture_name(camera: str, frame: int) -> str:
    """Return the name of a camera's picture in an export: `exterior/000012.png`."""
    return f"{camera}/{frame:06d}.png"


def write_masks(regions: RegionSet, path: Path, form: MaskFormat, *, overwrite: bool) -> list[str]:
    """Write all masks to `path`, a folder for `labels`, else a file; return sentences about what could not be kept.

    Raises:
        UserError: The file cannot be written, or exists and may not be replaced.
    """
    if form == "coco":
        text = json.dumps(build_coco(regions), indent=1)
        atomic_write.write_bytes(path, text.encode(), overwrite=overwrite)
        return []
    if form == "npz":
        arrays = {
            f"{camera}/{region.name}": _stack_masks(region, camera) for region in regions for camera in region.cameras
        }
        with atomic_write.open_atomic_path(path, overwrite=overwrite) as unfinished, unfinished.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type] # numpy's stub takes the names for options
        return ["Frames in which a region is not known are empty masks in the npz."]
    return _write_labels(regions, path, overwrite=overwrite)


def build_coco(regions: RegionSet) -> dict[str, Any]:
    """Return the content of a COCO file: a category a region, a picture a camera and frame, masks as run lengths."""
    numbers = {region.name: place for place, region in enumerate(regions, start=1)}
    images: dict[tuple[str, int], dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    for region in regions:
        for camera, masks in region.cameras.items():
            for frame in masks.frames():
                image = images.setdefault(
                    (camera, frame),
                    {
                        "id": len(images) + 1,
                        "file_name": picture_name(camera, frame),
                        "height": masks.height,
                        "width": masks.width,
                    },
                )
                mask = masks.mask(frame)
                rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                if not rows.size:
                    continue
                box = [cols[0], rows[0], cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image["id"],
                        "category_id": numbers[region.name],
                        "segmentation": run_length.encode(mask),
                        "area": int(mask.sum()),
                        "bbox": [int(number) for number in box],
                        "iscrowd": 0,
                        "origin": masks.origins[frame],
                    }
                )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": list(images.values()), "categories": categories, "annotations": annotations}


def _stack_masks(region: Region, camera: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    masks = region.cameras[camera]
    last = max(masks.frames(), default=-1)
    empty = np.zeros((masks.height, masks.width), np.bool_)
    return np.array([masks.mask(frame) if frame in masks else empty for frame in range(last + 1)], np.bool_).reshape(
        last + 1, masks.height, masks.width
    )


def _write_labels(regions: RegionSet, folder: Path, *, overwrite: bool) -> list[str]:
    """Write `CAMERA/000012.png`, a label a pixel, and `labels.json`, which names the labels."""
    labels = {region.name: place for place, region in enumerate(regions, start=1)}
    kind = np.uint8 if len(labels) < 256 else np.uint16
    overlapping = 0
    for camera in _list_cameras(regions):
        with_masks = [region for region in regions if camera in region.cameras]
        for frame in sorted({frame for region in with_masks for frame in region.cameras[camera].frames()}):
            size = with_masks[0].cameras[camera]
            picture = np.zeros((size.height, size.width), kind)
            for region in with_masks:
                if frame in region.cameras[camera]:
                    mask = region.cameras[camera].mask(frame)
                    overlapping += int((mask & (picture > 0)).any())
                    picture[mask] = labels[region.name]
            _write_png(folder / picture_name(camera, frame), picture, overwrite=overwrite)
    named = json.dumps({str(number): name for name, number in labels.items()}, indent=1, ensure_ascii=False)
    atomic_write.write_bytes(folder / "labels.json", named.encode(), overwrite=overwrite)
    if not overlapping:
        return []
    return [f"In {overlapping} pictures regions overlap, and a label picture holds one label a pixel: the later one."]


def _write_png(path: Path, picture: np.ndarray[Any, Any], *, overwrite: bool) -> None:
    from PIL import Image

    with atomic_write.open_atomic_path(path, overwrite=overwrite) as unfinished, unfinished.open("wb") as stream:
        Image.fromarray(picture).save(stream, "PNG")


def _list_cameras(regions: RegionSet) -> Iterable[str]:
    return dict.fromkeys(camera for region in regions for camera in region.cameras)
