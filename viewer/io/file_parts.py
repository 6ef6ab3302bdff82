"""Which parts of a results file hold one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.results import schema
from capture.results.dataset_layout import list_datasets

if TYPE_CHECKING:
    from viewer.io.view_bytes import Part


def list_parts(cameras: tuple[str, ...], frame: int) -> list[Part]:
    """Return a part of every dataset with frames that a file may have: all of the frame, of weights one chunk."""
    sizes = schema.Sizes(
        frames=1, cameras=cameras, layers=(0,), steps=(0,), heads=1, tokens=1, horizon=1, denoise_steps=1, state_dim=1,
        robot_dim=1, model_dim=1, pictures=((1, 1),) * len(cameras), full=True, is_rollout=True,
    )  # fmt: skip
    parts: list[Part] = []
    for dataset in list_datasets(sizes):
        if dataset.axes:
            # A chunk of weights is a token's row of one layer, or all patches of one head and camera.
            places = 0 if dataset.kind != "weight" else 3 if dataset.name.startswith("image/") else 2
            parts.append((dataset.name, len(dataset.axes), (frame, *(0,) * places)))
    return parts
