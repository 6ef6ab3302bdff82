"""Write an effects file about a results file, with known values, as `pi0-capture effects` would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from capture.results import effects_schema

if TYPE_CHECKING:
    from pathlib import Path

FLOOR = 0.5
"""Noise floor of the whole chunk; that of action n is FLOOR * (n + 1)."""
BOX = ((0, 6, 6), (0, 6, 7))
"""Patches of the region: camera, row, col."""
CONTROLS = (0.1, 0.2, 0.3, 0.4)
"""Effects of the random regions on the chunk; those on action n are n + 1 times as large."""


def write(path: Path, results: Path, frames: tuple[int, ...] = (0,), *, block: int = 2, **run: Any) -> Path:
    """Write effects on some frames: a map, one region, the heads, and how far heads agree. Return the path.

    The effect of patch (camera, row, col) on the chunk is row + col / 100 within the picture's middle rows, NaN
    elsewhere; that on action n is n + 1 times as large, that on dimension d of the chunk d + 1 times as large. Two
    untouched calls differ by FLOOR in every dimension. Relevances of dimensions 0 and 2 are 0.001 and 0.003 of the effect
    on the chunk, and those of words as those of patches.
    The region moves the chunk by 2, action n by 2 * (n + 1), dimension d by d + 1. The word of text token t moves the chunk by t / 10, action
    n by (n + 1) times as much; tokens of no word have NaN.
    """
    with h5py.File(results, locking=False) as file:  # which a test may have open
        weights = file["action/to_image"]
        _, layers, horizon, steps, heads, cameras, rows, cols = weights.shape
        words = np.where(file["text/word"][:] >= 0, np.arange(file["text/id"].shape[1]) / np.float32(10), np.nan)
        text, dims = file["text/id"].shape[1], file["action/predicted"].shape[2]
        attributes = {name: file.attrs[name] for name in ("cameras", "layers", "steps", "model")}
        uuid = file.attrs["uuid"]
        predicted = file["action/predicted"][:]
    noise = (len(frames), horizon, dims)
    count, multiples = len(frames), np.arange(1, horizon + 1, dtype=np.float32)
    chunk = np.full((count, cameras, rows, cols), np.nan, np.float32)
    chunk[:, :, 5:11] = np.arange(5, 11, dtype=np.float32)[:, None] + np.arange(cols, dtype=np.float32) / 100
    patches = np.zeros((count, 1, cameras, rows, cols), bool)
    patches[(slice(None), 0, *np.array(BOX).T)] = True
    controls = np.broadcast_to(np.array(CONTROLS, np.float32), (count, 1, len(CONTROLS)))
    of_heads = np.arange(layers * heads, dtype=np.float32).reshape(layers, heads)
    agreement = np.linspace(-1, 1, layers * steps * heads, dtype=np.float32).reshape(layers, steps, heads)
    values: dict[str, Any] = {
        "frames/number": np.array(frames),
        "baseline/robot_actions": predicted[list(frames)],
        "noise/actions": np.stack([np.zeros(noise), np.full(noise, FLOOR)], 1).astype(np.float32),
        "noise/floor": np.full(count, FLOOR, np.float32),
        "noise/floor_of_action": np.broadcast_to(FLOOR * multiples, (count, horizon)),
        "targets/name": np.array(["exterior:6,6-7"], object),
        "targets/kind": np.array(["region"], object),
        "targets/patches": patches,
        "targets/tokens": np.zeros((count, 1, text), bool),
        "targets/effect": np.full((count, 1), 2, np.float32),
        "targets/effect_of_action": np.broadcast_to(2 * multiples, (count, 1, horizon)),
        "targets/change": np.broadcast_to(np.arange(1, dims + 1, dtype=np.float32), (count, 1, horizon, dims)),
        "targets/robot_change": np.full((count, 1, horizon, dims), 0.25, np.float32),
        "controls/effect": controls,
        "controls/effect_of_action": controls[..., None] * multiples,
        "controls/robot_change": np.broadcast_to(
            np.array([-0.1, 0.0, 0.05, 0.1], np.float32)[:, None, None], (count, 1, len(CONTROLS), horizon, dims)
        ),
        "map/effect_of_chunk": chunk,
        "map/effect": chunk[:, None] * multiples[:, None, None, None],
        "map/effect_of_dim": chunk[:, None] * np.arange(1, dims + 1, dtype=np.float32)[:, None, None, None],
        "map/text_effect_of_chunk": words[list(frames)],
        "map/text_effect": words[list(frames), None] * multiples[:, None],
        "gradient/dim": np.broadcast_to(np.array([0, 2]), (count, 2)),
        "gradient/relevance": np.stack([chunk, 3 * chunk], 1)[:, :, None] * multiples[:, None, None, None] / 1000,
        "gradient/text_relevance": np.stack([words[list(frames)], 3 * words[list(frames)]], 1)[:, :, None]
        * multiples[:, None]
        / 1000,
        "heads/effect": np.broadcast_to(of_heads, (count, layers, heads)),
        "heads/effect_of_action": np.broadcast_to(of_heads[..., None] * multiples, (count, layers, heads, horizon)),
        "agreement/spearman_of_chunk": np.broadcast_to(agreement, (count, layers, steps, heads)),
        "agreement/spearman": np.broadcast_to(agreement / 2, (count, horizon, layers, steps, heads)),
        "agreement/gradient": np.broadcast_to(np.float32([0.25, 0.5]), (count, 2)),
        "agreement/relevance": np.broadcast_to(np.float32([-0.25, 0.75]), (count, 2)),
        "agreement/deletion": np.broadcast_to(agreement / 4, (count, layers, steps, heads)),
        "agreement/insertion": np.broadcast_to(agreement / 8, (count, layers, steps, heads)),
    }
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {
                "format": effects_schema.FORMAT, "format_version": np.array(effects_schema.FORMAT_VERSION),
                "uuid": f"effects {path.name}", "created": "2026-01-31T09:00:00+00:00", "generator": "test",
                "complete": True, "results": json.dumps({"name": results.name, "uuid": str(uuid)}),
                "run": json.dumps({"mode": "knockout", "from": "actions", "map": block, **run}), **attributes,
            }
        )  # fmt: skip
        for name, value in values.items():
            text_type = h5py.string_dtype() if value.dtype == object else None
            file.create_dataset(name, data=value, dtype=text_type)
    return path
