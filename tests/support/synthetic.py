"""Synthetic frames with the structure of captured ones: rows sum to 1, tokens spell a text, pictures are letterboxed.

Every value follows from the frame number, so that values read back can be compared with those written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capture.results import schema

MODEL = {
    "layers": 2,
    "heads": 2,
    "horizon": 3,
    "steps": 2,
    "action_dim": 32,
    "dtype": "bfloat16",
    "kind": "demo",
    "name": "synthetic",
    "config_hash": "0" * 16,
}
SMALL = schema.Sizes(
    frames=3,
    cameras=("exterior", "wrist"),
    layers=(0, 1),
    steps=(0, 1),
    heads=2,
    tokens=16,
    horizon=3,
    denoise_steps=2,
    state_dim=2,
    robot_dim=8,
    model_dim=32,
    pictures=((36, 64), (48, 64)),
)
_WORDS = ("▁put", "▁the", "▁duck", "▁in", "▁bowl")
_ROLE = {role: number for number, role in enumerate(schema.ROLES)}


def make_frame(sizes: schema.Sizes, number: int, *, tokens: int | None = None, bits: bool = True) -> schema.Frame:
    """Return frame `number` with `tokens` text tokens (the maximum of `sizes` by default).

    `bits`: weights as the 16 bits of bfloat16; otherwise as float32, not rounded.
    """
    rng = np.random.default_rng(number)
    count = sizes.tokens if tokens is None else tokens
    layers, steps, heads, horizon = len(sizes.layers), len(sizes.steps), sizes.heads, sizes.horizon
    cameras = len(sizes.cameras)
    picture = (cameras, schema.GRID, schema.GRID)

    def rows(*queries: int, actions: int = 0) -> list[npt.NDArray[Any]]:
        """Return heavy-tailed weights on pictures, text and actions, which sum to 1 over the three."""
        keys = cameras * schema.GRID**2
        weights = np.exp(2.5 * rng.standard_normal((*queries, keys + count + actions), dtype=np.float32))
        weights /= weights.sum(-1, keepdims=True)
        stored = schema.to_bfloat16(weights) if bits else weights
        blocks = np.split(stored, [keys, keys + count], axis=-1)
        return [blocks[0].reshape(*queries, *picture), *blocks[1:]]

    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    def mass(*queries: int) -> npt.NDArray[np.float32]:
        return rng.dirichlet(np.ones(len(schema.mass_groups(sizes.cameras))), queries).astype(np.float32)

    result: schema.Frame = _tokens(number, count)
    result |= {
        schema.FRAMES_INDEX: 10 * number,
        schema.FRAMES_TIME: number / 15,
        schema.FRAMES_EPISODE: "episode 7",
        schema.FRAMES_PROMPT: f"put the duck in bowl {number}",
        schema.FRAMES_STATE: normal(sizes.state_dim),
        schema.FRAMES_SEED: number,
        schema.FRAMES_NOISE: normal(horizon, sizes.model_dim),
        schema.IMAGE_POSITION: np.arange(np.prod(picture), dtype=np.int32).reshape(picture),
        schema.ACTION_PREDICTED: normal(horizon, sizes.robot_dim),
        schema.ACTION_X: normal(sizes.denoise_steps + 1, horizon, sizes.model_dim),
        schema.ACTION_TIME: np.linspace(1, 0, sizes.denoise_steps, endpoint=False, dtype=np.float32),
        schema.TEXT_MASS: mass(layers, count, heads),
        schema.ACTION_MASS: mass(layers, horizon, steps, heads),
        schema.TEXT_ENTROPY: np.abs(normal(layers, count, heads)),
        schema.ACTION_ENTROPY: np.abs(normal(layers, horizon, steps, heads)),
        schema.TEXT_VALUE_NORM_IMAGE: np.abs(normal(layers, heads, *picture)),
        schema.TEXT_VALUE_NORM_TEXT: np.abs(normal(layers, heads, count)),
        schema.ACTION_VALUE_NORM_IMAGE: np.abs(normal(layers, heads, *picture)),
        schema.ACTION_VALUE_NORM_TEXT: np.abs(normal(layers, heads, count)),
        schema.ACTION_VALUE_NORM_ACTION: np.abs(normal(layers, steps, heads, horizon)),
    }
    if number:  # the first frame has no true actions
        result[schema.ACTION_TRUTH] = normal(horizon, sizes.robot_dim)
    for camera, (height, width) in zip(sizes.cameras, sizes.pictures, strict=True):
        result[schema.source_name(camera)] = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        result[schema.model_picture_name(camera)] = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
        scale = schema.MODEL_PIXELS / max(height, width)
        left, top = ((schema.MODEL_PIXELS - scale * side) / 2 for side in (width, height))
        result[schema.to_model_name(camera)] = np.array([[scale, 0, left], [0, scale, top]])
    result[schema.TEXT_TO_IMAGE], result[schema.TEXT_TO_TEXT], _ = rows(layers, count, heads)
    result[schema.ACTION_TO_IMAGE], result[schema.ACTION_TO_TEXT], result[schema.ACTION_TO_ACTION] = rows(
        layers, horizon, steps, heads, actions=horizon
    )
    if sizes.full:
        result[schema.IMAGE_TO_IMAGE], result[schema.IMAGE_TO_TEXT], _ = rows(layers, heads, *picture)
    return result


def _tokens(number: int, count: int) -> schema.Frame:
    """Return BOS, `count` - 2 words and a newline, which spell `frames/text`."""
    pieces = ["<bos>", *(_WORDS[(number + index) % len(_WORDS)] for index in range(count - 2)), "\n"][:count]
    text, start, stop = "", [], []
    for piece in pieces:
        start.append(len(text))
        text += "" if piece == "<bos>" else piece.replace("▁", " ")
        stop.append(len(text))
    roles = [_ROLE["bos"], *[_ROLE["prompt"]] * (count - 2), _ROLE["newline"]][:count]
    words = [-1, *range(count - 2), -1][:count]
    return {
        schema.FRAMES_TEXT: text,
        schema.TEXT_ID: np.arange(2, 2 + count, dtype=np.int32),
        schema.TEXT_PIECE: np.array(pieces, dtype=object),
        schema.TEXT_START: np.array(start, dtype=np.int32),
        schema.TEXT_STOP: np.array(stop, dtype=np.int32),
        schema.TEXT_ROLE: np.array(roles, dtype=np.int32),
        schema.TEXT_WORD: np.array(words, dtype=np.int32),
        schema.TEXT_STATE_INDEX: np.full(count, -1, dtype=np.int32),
        schema.TEXT_POSITION: np.arange(512, 512 + count, dtype=np.int32),
    }
