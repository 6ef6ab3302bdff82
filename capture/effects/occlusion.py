"""Cover patches of a picture as the model sees it, before the vision tower."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from capture.effects.targets import Fill, Mask


def cover(pixels: Tensor, mask: Mask, fill: Fill, other: Tensor | None = None) -> Tensor:
    """Return a picture (3, height, width) float32 in [-1, 1] whose patches in `mask` (rows, cols) are covered.

    `mean`: the mean colour of the patches that are not covered. `grey`: the middle of the range. `blur`: the picture
    blurred with a standard deviation of a patch and a half. `inpaint`: OpenCV's inpainting (Telea 2004) from what
    surrounds the patches; it works on 8 bits. `frame`: the same pixels of `other`. Pixels outside the mask keep every
    bit.
    """
    height, width = pixels.shape[1:]
    rows, cols = mask.shape
    covered = np.repeat(np.repeat(mask, height // rows, axis=0), width // cols, axis=1)  # (height, width)
    area = torch.from_numpy(covered)
    if fill == "mean":
        uncovered = pixels[:, ~area] if not covered.all() else pixels.flatten(1)
        filling = uncovered.mean(dim=1)[:, None, None].expand_as(pixels)  # (3, height, width)
    elif fill == "grey":
        filling = torch.zeros_like(pixels)
    elif fill == "frame":
        if other is None:
            raise ValueError("no picture of another frame was given to cover with")
        filling = other
    else:
        filling = _filter(pixels, covered, fill, 1.5 * height / rows)
    return torch.where(area, filling, pixels)


def _filter(pixels: Tensor, covered: Mask, fill: Fill, sigma: float) -> Tensor:
    """Return what OpenCV puts in place of the covered pixels: (3, height, width) float32."""
    import cv2  # only here: it takes 100 ms to import, and is an extra

    channels_last = pixels.permute(1, 2, 0).numpy()
    if fill == "blur":
        changed = cv2.GaussianBlur(channels_last, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return torch.from_numpy(changed).permute(2, 0, 1)
    bytes_ = np.clip(np.rint((channels_last + 1) * 127.5), 0, 255).astype(np.uint8)
    changed = cv2.inpaint(bytes_, covered.astype(np.uint8), sigma, cv2.INPAINT_TELEA)
    return torch.from_numpy(changed.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)
