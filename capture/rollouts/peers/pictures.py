"""Pictures of another code base's policies: its tensors as the results file stores them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.checkpoints.lerobot.cameras import name_camera
from capture.policies.letterbox import Picture, letterbox, to_uint8

Pixels8 = npt.NDArray[np.uint8]


def name_cameras(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names under which the cameras of a policy are stored, as `pi0-capture` names them.

    `keys`: of its pictures, such as `left_wrist_0_rgb` or `observation.images.top`, in the model's order.
    """
    names: list[str] = []
    for key in keys:
        last = key.rpartition(".")[2].replace("/", "_")
        name = name_camera(last)
        names.append(last if name in names else name)
    return tuple(names)


def read_source(picture: Tensor | npt.NDArray[np.generic]) -> Pixels8:
    """Return a camera picture as (height, width, 3) uint8, copied: channels first or last, uint8 or in [0, 1]."""
    array = picture.detach().cpu().numpy() if isinstance(picture, Tensor) else np.asarray(picture)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    if array.dtype == np.uint8:
        return np.array(array, np.uint8, order="C")
    return np.array(np.rint(np.clip(array.astype(np.float32), 0, 1) * 255), np.uint8, order="C")


def describe_picture(pixels: Tensor, source: Pixels8, grid: int) -> Picture:
    """Return the model's picture, (3, height, width) in [-1, 1], and where the camera's lies in it.

    `grid`: patches along a side.
    """
    shown = pixels.detach().to("cpu", torch.float32)  # (3, height, width)
    side = shown.shape[-1]
    box = letterbox(*source.shape[:2], size=side, patch=side // grid)
    return Picture(to_uint8(shown), shown, box)
