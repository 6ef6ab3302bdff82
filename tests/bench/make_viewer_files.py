"""Full-size results files for measuring: 18 layers, 8 heads, 10 steps, 15 actions, heavy-tailed weights.

    python tests/bench/make_viewer_files.py OUT.h5 --frames 24

Four frames are drawn; the rest repeat their bits, moved along by a few layers, so that a 10 GB file takes seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]
import make_results  # noqa: E402 - lies beside the tests

from capture.results import schema  # noqa: E402

DRAWN = 3
TASK = (
    "put the small yellow duck that lies beside the blue block into the white bowl at the edge of the table then "
    "move the red ball away from the arm and close the left drawer with the back of the gripper before you go back "
    "to where you began and wait there"
)
"""49 words, so that with the state and the template there are 60 chips."""


def paint_scene(frame: int, camera: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A table with a few things on it, painted by distance functions."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    picture = np.empty((height, width, 3), np.float32)
    table = (x + 2.2 * y > 0.9) & (2.4 * y - x > -1.35) if camera == 0 else x > 0.42 - 0.12 * y
    checks = ((np.floor(x * 9 + y * 5) + np.floor(y * 9 - x * 3)) % 2)[..., None]
    picture[:] = np.where(
        table[..., None], np.array([150, 118, 74]) - 16 * checks, np.array([88, 98, 112]) - 30 * y[..., None]
    )
    shift = 0.06 * np.sin(frame / 4)
    shapes = (
        ((0.72, 0.36), 0.075, (232, 196, 40)),
        ((0.80, 0.31), 0.04, (238, 206, 60)),
        ((0.52, 0.42), 0.055, (46, 84, 190)),
        ((1.02, 0.70), 0.13, (222, 222, 216)),
        ((1.02, 0.69), 0.10, (186, 186, 180)),
        ((0.74, 0.66), 0.06, (190, 52, 44)),
        ((1.30 + shift, 0.20), 0.16, (60, 62, 68)),
        ((1.22 + shift, 0.34), 0.07, (38, 39, 44)),
    )
    for (cx, cy), radius, color in shapes:
        if camera == 1:
            cx, cy = 1.55 - cx * 0.8, 0.25 + cy * 0.75
        gone = np.hypot(x - cx - 0.05 * radius, (y - cy - 0.35 * radius) * 1.3) < radius * 1.12
        picture[gone] *= 0.72
        inside = np.hypot(x - cx, y - cy) < radius
        light = (
            1.12 - 0.5 * np.clip((np.hypot(x - cx + radius * 0.3, y - cy + radius * 0.4) / radius), 0, 1.4) ** 2 * 0.5
        )
        picture[inside] = (np.array(color) * light[..., None])[inside]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _plant(
    kind: str, image: npt.NDArray[np.float32], words: npt.NDArray[np.float32], actions: npt.NDArray[np.float32]
) -> None:
    """Some layers and heads that look at the things, sinks on BOS and a background patch."""
    rng = np.random.default_rng(7)
    layers = image.shape[0]
    heads = image.shape[-4]
    strength = rng.gamma(0.5, 1.0, (layers, heads)).astype(np.float32) * (np.arange(layers) / layers)[:, None]
    spots = ((0, 6, 6, 900.0), (0, 7, 6, 600.0), (0, 6, 7, 300.0), (1, 8, 9, 700.0), (1, 9, 9, 300.0), (0, 9, 9, 250.0))
    for camera, row, col, weight in spots:
        lift = strength * weight
        target = image[..., camera, row, col]
        target += lift.reshape(layers, *(1,) * (target.ndim - 2), heads) * rng.uniform(
            0.3, 1.5, target.shape[1]
        ).astype(np.float32).reshape(1, -1, *(1,) * (target.ndim - 2))
    words[..., 0] += 300 * rng.gamma(0.6, 1.0, (layers, *(1,) * (words.ndim - 3), heads)).astype(np.float32)
    image[..., 0, 2, 4] += 60


def write(path: Path, frames: int = 24, size: tuple[int, int] = (720, 1280), *, seed: int = 1) -> Path:
    """A full-size file of `frames` frames; about 36 MB each, and 5.5 MB of pictures."""
    make_results.scene = paint_scene
    drawn = min(DRAWN, frames)
    recipe = make_results.Recipe(
        frames=drawn, size=size, layers=18, heads=8, steps=10, horizon=15, tasks=(TASK,), seed=seed, plant=_plant
    )
    make_results.write(path, recipe)
    if frames > drawn:
        small = path.with_suffix(".few")
        path.rename(small)
        _repeat(small, path, frames, drawn)
        small.unlink()
    return path


def _repeat(small: Path, path: Path, frames: int, drawn: int) -> None:
    with h5py.File(small) as source, h5py.File(path, "w", libver=("v110", "v110")) as target:
        for name, value in source.attrs.items():
            target.attrs[name] = value
        tokens: list[str] = []
        source.visititems(lambda name, item: tokens.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in tokens:
            old = source[name]
            if not old.shape:
                target.create_dataset(name, data=frames)
                continue
            properties = old.id.get_create_plist()
            group = target.require_group(name.rpartition("/")[0])
            space = h5py.h5s.create_simple((frames, *old.shape[1:]))
            new = h5py.Dataset(
                h5py.h5d.create(group.id, name.rpartition("/")[2].encode(), old.id.get_type(), space, properties)
            )
            for key, value in old.attrs.items():
                new.attrs[key] = value
            wide = old.dtype.kind == "f" and old.id.get_type().get_size() == 2
            for frame in range(frames):
                if wide:
                    shape = (1, *old.shape[1:])
                    bits, from_ = np.empty(shape, np.uint16), old.id.get_space()
                    from_.select_hyperslab((frame % drawn, *(0,) * (old.ndim - 1)), shape)
                    old.id.read(h5py.h5s.create_simple(shape), from_, bits, old.id.get_type())
                    bits = np.roll(bits, frame // drawn % 3, 1)
                    to = new.id.get_space()
                    to.select_hyperslab((frame, *(0,) * (old.ndim - 1)), shape)
                    new.id.write(h5py.h5s.create_simple(shape), to, bits, old.id.get_type())
                else:
                    new[frame] = (
                        np.roll(old[frame % drawn], frame // drawn % 3, 0)
                        if name.endswith("/mass")
                        else old[frame % drawn]
                    )
        del target[schema.FRAMES_INDEX]
        target[schema.FRAMES_INDEX] = np.arange(frames)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    arguments = parser.parse_args()
    print(write(arguments.path, arguments.frames))
