"""Masks of objects that a caller hands over with an observation, as its simulator draws them. numpy only.

Two forms, for each camera that has masks::

    {"exterior": {"duck": mask, "bowl": mask}}
    {"exterior": labels}, {"duck": 3, "bowl": [5, 6]}

A mask holds truth values, or whole numbers that are not 0 inside the object. Labels are a picture of whole numbers, of
which the second map says which object they are. Masks have the height and width of the camera's picture as it is
handed to the policy. An object that a picture of labels lacks, or whose mask is empty, is known not to be seen; one
without a mask is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.regions.segmentation import split_labels
from capture.datasets.regions.source import Masks
from capture.errors import UserError
from capture.results.regions_schema import MAX_NAME, is_name
from capture.results.scores_schema import MAX_REGIONS
from capture.terminal_text import escape_control_characters

MAX_VALUES: Final = 4096
"""Numbers in pictures of labels that can be named; MuJoCo has one for each geom."""
WHERE: Final = "the masks"
"""What error messages call the masks."""
VALUES: Final = "mask_values"
EXAMPLE: Final = '{"exterior": {"duck": mask}}, or {"exterior": labels} with mask_values={"duck": 3}'

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CallMasks:
    """Masks of one call of a policy. They are checked but for what only the pictures of the call tell."""

    masks: Mapping[tuple[str, str], Array] = field(default_factory=dict)
    """(region, camera) -> (height, width) bool or whole numbers that are not 0 inside the region."""
    labels: Mapping[str, Array] = field(default_factory=dict)
    """Camera -> (height, width) whole numbers, each of one object."""
    values: tuple[tuple[int, str], ...] = ()
    """Numbers in `labels` and the regions that they belong to."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return tuple(dict.fromkeys((*(name for _, name in self.values), *(name for name, _ in self.masks))))

    def copied(self) -> CallMasks:
        """Return the same in memory of its own, which a simulator does not draw into."""
        masks = {key: mask.copy() for key, mask in self.masks.items()}
        return replace(self, masks=masks, labels={camera: values.copy() for camera, values in self.labels.items()})

    def rename_cameras(self, rename: Callable[[str], str | None]) -> CallMasks:
        """Return the masks by the policy's names of the cameras; those of cameras for which it is None are left out.

        Raises UserError where two of the names are of one camera.
        """
        cameras = dict.fromkeys((*self.labels, *(camera for _, camera in self.masks)))
        slots = {camera: slot for camera in cameras if (slot := rename(camera)) is not None}
        if len(set(slots.values())) < len(slots):
            twice = next(slot for slot in slots.values() if list(slots.values()).count(slot) > 1)
            raise UserError(f"{WHERE} name the {twice} camera twice, as {_list(slots)}; give each camera once")
        return replace(
            self,
            masks={(name, slots[camera]): mask for (name, camera), mask in self.masks.items() if camera in slots},
            labels={slots[camera]: values for camera, values in self.labels.items() if camera in slots},
        )

    def check_sizes(self, pictures: Mapping[str, Array]) -> None:
        """Raise UserError for a mask that has another height and width than its camera's picture."""
        for camera, mask in (*self.labels.items(), *((camera, mask) for (_, camera), mask in self.masks.items())):
            shape = np.shape(pictures[camera])[:2]
            if mask.shape != shape:
                raise UserError(
                    f"{WHERE} of {camera} have {_size(mask.shape)} pixels, and its picture {_size(shape)}; masks are "
                    "in the pixels of the picture that the policy is given, resized and turned as it is"
                )

    def split(self) -> Masks:
        """Return the mask of each region and camera."""
        masks = dict(split_labels(self.labels, self.values))
        for key, mask in self.masks.items():
            inside = mask if mask.dtype == np.bool_ else mask != 0
            masks[key] = masks[key] | inside if key in masks else inside
        return masks


def read_masks(masks: object, values: object = None) -> CallMasks:
    """Return masks of one call in either form. Raises UserError, with one sentence, for anything else."""
    numbers = _read_values(values)
    if not isinstance(masks, Mapping):
        raise UserError(f"{WHERE} are {type(masks).__name__}; give each camera's, such as {EXAMPLE}")
    object_masks: dict[tuple[str, str], Array] = {}
    labels: dict[str, Array] = {}
    for camera, stated in masks.items():
        if not isinstance(camera, str):
            raise UserError(f"{WHERE} are of a camera {_show(camera)}; give each camera's, such as {EXAMPLE}")
        shown = _show(camera)
        if isinstance(stated, Mapping):
            for name, mask in stated.items():
                _check_name(name)
                if mask is not None:
                    object_masks[name, camera] = _read_array(mask, f"the mask of {name} in {shown}", "biu")
        elif stated is not None:
            labels[camera] = _read_array(stated, f"the labels of {shown}", "iu")
    if labels and not numbers:
        raise UserError(
            f'the labels of {_list(labels)} say nothing without {VALUES}, which names objects, such as {{"duck": 3}}'
        )
    call_masks = CallMasks(object_masks, labels, numbers if labels else ())
    if len(call_masks.names) > MAX_REGIONS:
        raise UserError(f"{WHERE} are of {len(call_masks.names)} objects; {MAX_REGIONS} are the limit")
    return call_masks


def _read_values(values: object) -> tuple[tuple[int, str], ...]:
    """Return numbers of labels with their names. Raises UserError."""
    if values is None:
        return ()
    if not isinstance(values, Mapping):
        raise UserError(f'{VALUES} is {type(values).__name__}; it names objects, such as {{"duck": 3, "bowl": [5, 6]}}')
    names: dict[int, str] = {}
    for name, stated in values.items():
        _check_name(name)
        for number in _list_numbers(name, stated):
            if number in names:
                raise UserError(f"{VALUES} gives the number {number} to {names[number]} and to {name}")
            names[number] = name
            if len(names) > MAX_VALUES:
                raise UserError(f"{VALUES} has more than {MAX_VALUES} numbers")
    return tuple(names.items())


def _list_numbers(name: str, stated: object) -> Iterator[int]:
    """Yield the numbers of one object. Raises UserError for anything but whole numbers."""
    numbers: Sequence[object] = [stated]
    if isinstance(stated, np.ndarray):
        numbers = stated.ravel()[: MAX_VALUES + 1].tolist()
    elif isinstance(stated, Sequence | set | frozenset | range) and not isinstance(stated, str | bytes):
        numbers = list(stated)
    for number in numbers:
        if isinstance(number, bool | np.bool_) or not isinstance(number, int | np.integer):
            raise UserError(f"{VALUES} gives {name} the number {_show(number)}; give a whole number, or a list of them")
        yield int(number)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not is_name(name) or not name.isprintable():
        raise UserError(
            f"{WHERE} name an object {_show(name)}; a name has 1 to {MAX_NAME} characters, and no slash, colon or "
            "equals sign"
        )


def _read_array(stated: object, what: str, kinds: str) -> Array:
    """Return a mask or labels as (height, width). Raises UserError for another shape or number type."""
    try:
        array = np.asarray(stated)
    except (TypeError, ValueError):  # lists of different lengths, a tensor on a GPU
        raise UserError(f"{what} is no array of numbers; give it as a numpy array") from None
    if array.dtype.kind not in kinds:
        wanted = "truth values or whole numbers" if "b" in kinds else "whole numbers"
        raise UserError(f"{what} holds values of type {array.dtype}; {wanted} are needed"[:300])
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2 and array.size:
        return array
    hint = ""
    if array.ndim == 3 and array.shape[2] == 2:
        hint = "; of MuJoCo's segmentation give the numbers of its objects, segmentation[..., 0]"
    raise UserError(f"{what} has the shape {array.shape}; a mask is (height, width){hint}"[:300])


def _size(shape: Sequence[int]) -> str:
    """Return height and width as people say them: width x height."""
    return " x ".join(str(size) for size in reversed(shape))


def _show(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return escape_control_characters(text if len(text) <= 40 else text[:39] + "…")


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(_show(name) for name in names)
