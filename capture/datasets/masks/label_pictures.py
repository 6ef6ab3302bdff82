"""The objects in an episode's pictures: a PNG for each, whose pixels hold the number of the object that is seen there.

{"prompt": "pick up the duck", "mask_values": {"duck": 1, "mug": 3},
 "frames": [{"pictures": {"exterior": "exterior_00.jpg"}, "masks": {"exterior": "exterior_00_mask.png"}, ...}, ...]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from capture.datasets.images import check_size
from capture.errors import UserError
from capture.json_fields import is_safe_relative_path
from capture.results import regions_schema

Labels = npt.NDArray[np.uint8]
"""(height, width) of a camera's picture: the number of the object at each pixel; 0 where there is none."""

_EXAMPLE: Final = 'such as {"duck": 1, "mug": 3}'


class LabelPictures:
    """The label pictures that an `episode.json` names. Nothing is read before it is asked for."""

    def __init__(self, content: Mapping[str, Any], indices: Sequence[int], cameras: Mapping[str, str], path: Path):
        """Hold what is needed to find them.

        Args:
            content: Of the `episode.json` at `path`, with a list of objects as `frames`.
            indices: Of each frame, by which it is asked for.
            cameras: Policy camera -> the episode's own.
            path: Of the `episode.json`.
        """
        self._content, self._cameras, self._path = content, cameras, path
        self._frames = {index: frame for frame, index in enumerate(indices)}

    @property
    def names(self) -> Mapping[int, str]:
        """Number in the masks -> name of the object; none where the episode has no masks. Raises UserError."""
        has_masks = any(isinstance(frame, dict) and frame.get("masks") for frame in self._content["frames"])
        return parse_mask_names(self._content.get("mask_values") if has_masks else None, str(self._path))

    def read(self, index: int) -> Mapping[str, Labels]:
        """Return policy camera -> mask in the frame of this index; a camera without one is absent.

        Raises UserError for masks of another form, and for one that is missing, damaged or outside the folder.
        """
        frame = self._frames[index]
        where = f"frame {frame} of {self._path}"
        files = self._content["frames"][frame].get("masks", {})
        if not isinstance(files, dict):
            raise UserError(f'{where} names its masks without a camera; write "masks": {{"exterior": "FILE.png"}}')
        files_by_slot = {slot: files[camera] for slot, camera in self._cameras.items() if camera in files}
        for file in files_by_slot.values():
            if not isinstance(file, str) or not is_safe_relative_path(file):
                raise UserError(f"{where} names a file outside its folder: {file}")
        return {slot: read_labels(self._path.parent / file) for slot, file in files_by_slot.items()}


def parse_mask_names(values: Any, where: str) -> Mapping[int, str]:
    """Return number -> name of `mask_values`, an object of names and numbers; none of None.

    Raises UserError for names that a region cannot have, and for numbers that are not between 1 and 255 or used twice.
    """
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"'mask_values' in {where} gives no names and numbers, {_EXAMPLE}")
    names: dict[int, str] = {}
    for name, number in values.items():
        if not regions_schema.is_name(name):
            raise UserError(
                f"'mask_values' in {where} names an object {name[:60]!r}; a name has 1 to {regions_schema.MAX_NAME} "
                "characters, and no slash, colon or equals sign"
            )
        if type(number) is not int or not 0 < number < 256 or number in names:
            raise UserError(
                f"'mask_values' in {where} gives {name!r} the number {number!r}; each object has one of its own, "
                f"from 1 to 255, {_EXAMPLE}"
            )
        names[number] = name
    return names


def read_labels(path: Path) -> Labels:
    """Read a label picture: a PNG of grey values or of palette numbers.

    Raises UserError for a file that is missing, damaged, of another kind or larger than 50 million pixels.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            check_size(path, *image.size)
            if image.mode not in ("L", "P", "1"):
                raise UserError(f"the mask {path} has pixels of mode {image.mode}; save 8-bit grey or palette numbers")
            return np.array(image, dtype=np.uint8)
    except FileNotFoundError:
        raise UserError(f"the mask {path} does not exist; check the path") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"the mask {path} cannot be read as a PNG ({reason or 'no reason'})") from None
