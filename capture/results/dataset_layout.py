"""Layout of the results file: axes, shape, number type and chunks of every dataset; `FORMAT.md` describes the same.

Imports numpy and the standard library only, so that results can be viewed without torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from capture.results import schema
from capture.results import scores_schema as scores

Kind = Literal["weight", "score", "f4", "f8", "i4", "i8", "u1", "str", "role"]
"""Number type of a dataset; `weight` is bfloat16 and `score` float16, both float32 where the user asked for it."""


ROLLOUT_ROWS: Final = 64
"""Frames in a chunk of `frames/*` of a rollout, whose number of frames is not known when the file is made."""


FILL: Final[dict[str, float]] = {
    schema.TEXT_ROLE: schema.ROLES.index("pad"),
    schema.TEXT_WORD: -1,
    schema.TEXT_STATE_INDEX: -1,
    schema.TEXT_ENTROPY: schema.UNDEFINED_ENTROPY,
    schema.ACTION_ENTROPY: schema.UNDEFINED_ENTROPY,
    schema.ACTION_TRUTH: float("nan"),
    scores.WORD: -1,
    scores.COVERAGE: float("nan"),
    **dict.fromkeys(scores.AXES, float("nan")),
}
"""Value of a dataset where nothing was written; 0 or the empty string for datasets that are not listed.

Maps and value norms are NaN there in files that keep the maps of some frames only.
"""


@dataclass(frozen=True)
class Dataset:
    """One dataset of the file: its name, the words of its axes, its shape, number type and chunk."""

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    kind: Kind
    chunks: tuple[int, ...] | None
    """None where the dataset is a scalar."""
    string_bytes: int = 0
    """Room for one string; 0 where the dataset holds numbers."""
    fill: float = 0
    """Value where nothing was written; strings are empty there."""
    is_packed: bool = False
    """Whether HDF5's own shuffle and deflate filters pack it where nothing else is asked for."""

    @property
    def text_axes(self) -> tuple[int, ...]:
        """Indices of the axes over text tokens; entries beyond a frame's own tokens hold the fill value."""
        return tuple(
            axis
            for axis, word in enumerate(self.axes)
            if word in ("text", "word") or (word == "token" and self.name.startswith(("text/", "scores/")))
        )

    def frame_bytes(self, weight_bytes: int = 2) -> int:
        """Return the largest size of one frame in bytes; `weight_bytes` is 2 for bfloat16, 4 for float32."""
        if not self.shape:
            return 0
        known = {"weight": weight_bytes, "score": weight_bytes, "role": 1, "str": self.string_bytes}
        number = known.get(self.kind) or int(self.kind[1])
        return math.prod(self.shape[1:]) * number


def list_datasets(sizes: schema.Sizes) -> Iterator[Dataset]:
    """Yield every dataset of a file of these sizes, in the order in which they are created.

    A chunk holds what the viewer reads at once: all steps and heads of an action's row (82 KB at full size), all
    layers and heads of a word's row, or one picture.
    """
    axes = _Axes(sizes)
    yield from _list_frames(axes)
    yield from _list_pictures(sizes)
    yield from _list_tokens(axes)
    yield from _list_maps(axes)
    yield from _list_actions(axes)
    yield from _list_summaries(axes)
    if sizes.has_scores:
        yield from _list_scores(axes)


class _Axes:
    """Lengths of the axes by name, and the datasets made of them."""

    def __init__(self, sizes: schema.Sizes) -> None:
        self.sizes = sizes
        self.keeps_all_maps = sizes.maps_every == scores.ALL_MAPS
        self.lengths = {
            "frame": sizes.frames,
            "layer": len(sizes.layers),
            "step": len(sizes.steps),
            "head": sizes.heads,
            "camera": len(sizes.cameras),
            "row": sizes.grid[0],
            "col": sizes.grid[1],
            "text": sizes.tokens,
            "action": sizes.horizon,
            "group": len(schema.mass_groups(sizes.cameras)),
            "state": sizes.state_dim,
            "dim": sizes.robot_dim,
            "model dim": sizes.model_dim,
            "time": sizes.denoise_steps,
            "point": sizes.denoise_steps + 1,
            "word": sizes.words,
            "region": len(sizes.regions),
        }

    def make(self, name: str, axes: str, kind: Kind, *, tokens: int = 0, chunk: Sequence[str] | None = None) -> Dataset:
        """Return a dataset; `axes`: names with commas. `chunk`: axes that a chunk holds whole; None for all of a frame.

        `tokens`: length of the axis `token`, which is that of the text or of the actions.
        """
        names = tuple(axis.strip() for axis in axes.split(","))
        shape = tuple(tokens if axis == "token" else self.lengths[axis] for axis in names)
        if chunk is None:
            chunks = (1, *shape[1:])
        else:
            chunks = tuple(size if axis in chunk else 1 for axis, size in zip(names, shape, strict=True))
        string_bytes = self.sizes.piece_bytes if kind == "str" else 0
        fill = float("nan") if name in schema.OF_MAPS and not self.keeps_all_maps else FILL.get(name, 0)
        chunks = tuple(max(1, size) for size in chunks)
        return Dataset(name, names, shape, kind, chunks, string_bytes, fill, is_packed=kind == "score")


def _list_frames(axes: _Axes) -> Iterator[Dataset]:
    """Yield the datasets about frames as a whole."""
    sizes = axes.sizes
    yield Dataset(schema.FRAMES_DONE, (), (), "i8", None)
    per_frame: tuple[tuple[str, Kind], ...] = (
        (schema.FRAMES_INDEX, "i8"),
        (schema.FRAMES_TIME, "f8"),
        (schema.FRAMES_EPISODE, "str"),
        (schema.FRAMES_PROMPT, "str"),
        (schema.FRAMES_TEXT, "str"),
        (schema.FRAMES_SEED, "i8"),
    )
    if sizes.is_rollout:
        per_frame += ((schema.FRAMES_CLOCK, "f8"), (schema.FRAMES_CALL_SECONDS, "f8"), (schema.FRAMES_DROPPED, "i8"))
    if sizes.has_scores:
        per_frame += ((scores.HAS_MAPS, "u1"), (scores.ROW_SUM_ERROR, "f4"))
    for name, kind in per_frame:
        string_bytes = sizes.text_bytes if kind == "str" else 0
        rows = 65_536 // (string_bytes or 64)  # a finished frame rewrites no more than 64 KiB of text
        chunk = max(1, min(ROLLOUT_ROWS if sizes.is_rollout else sizes.frames, rows))
        yield Dataset(name, ("frame",), (sizes.frames,), kind, (chunk,), string_bytes)
    yield axes.make(schema.FRAMES_STATE, "frame, state", "f4")
    yield axes.make(schema.FRAMES_NOISE, "frame, action, model dim", "f4")


def _list_pictures(sizes: schema.Sizes) -> Iterator[Dataset]:
    """Yield the pictures of each camera and their map to the model's."""
    frames = sizes.frames
    for camera, (height, width) in zip(sizes.cameras, sizes.pictures, strict=True):
        for name, y, x in (
            (schema.source_name(camera), height, width),
            (schema.model_picture_name(camera), *sizes.model_picture),
        ):
            yield Dataset(name, ("frame", "y", "x", "rgb"), (frames, y, x, 3), "u1", (1, y, x, 3))
        yield Dataset(schema.to_model_name(camera), ("frame", "xy", "xy1"), (frames, 2, 3), "f8", (1, 2, 3))


def _list_tokens(axes: _Axes) -> Iterator[Dataset]:
    """Yield the datasets about text tokens, and the positions of the patches."""
    per_token: tuple[tuple[str, Kind], ...] = (
        (schema.TEXT_ID, "i4"),
        (schema.TEXT_PIECE, "str"),
        (schema.TEXT_START, "i4"),
        (schema.TEXT_STOP, "i4"),
        (schema.TEXT_ROLE, "role"),
        (schema.TEXT_WORD, "i4"),
        (schema.TEXT_STATE_INDEX, "i4"),
        (schema.TEXT_POSITION, "i4"),
    )
    for name, kind in per_token:
        yield axes.make(name, "frame, token", kind, tokens=axes.sizes.tokens)
    yield axes.make(schema.IMAGE_POSITION, "frame, camera, row, col", "i4")


def _list_maps(axes: _Axes) -> Iterator[Dataset]:
    """Yield the attention weights of words and actions, and with `full` those of patches."""
    sizes, patches = axes.sizes, ("camera", "row", "col")
    for name, names, keys in (
        (schema.TEXT_TO_IMAGE, "frame, layer, token, head, camera, row, col", patches),
        (schema.TEXT_TO_TEXT, "frame, layer, token, head, text", ("text",)),
    ):
        yield axes.make(name, names, "weight", tokens=sizes.tokens, chunk=("layer", "head", *keys))
    for name, names, keys in (
        (schema.ACTION_TO_IMAGE, "frame, layer, token, step, head, camera, row, col", patches),
        (schema.ACTION_TO_TEXT, "frame, layer, token, step, head, text", ("text",)),
        (schema.ACTION_TO_ACTION, "frame, layer, token, step, head, action", ("action",)),
    ):
        yield axes.make(name, names, "weight", tokens=sizes.horizon, chunk=("step", "head", *keys))
    if sizes.full:
        queries = ("frame", "layer", "head", *patches)
        shape = tuple(axes.lengths[axis] for axis in queries)
        for name, keys, key_shape in (
            (schema.IMAGE_TO_IMAGE, patches, (len(sizes.cameras), *sizes.grid)),
            (schema.IMAGE_TO_TEXT, ("text",), (sizes.tokens,)),
        ):
            chunks, fill = (1, 1, 1, 1, *sizes.grid, *key_shape), 0 if axes.keeps_all_maps else float("nan")
            yield Dataset(name, (*queries, *keys), (*shape, *key_shape), "weight", chunks, fill=fill)


def _list_actions(axes: _Axes) -> Iterator[Dataset]:
    """Yield the actions of the policy and of the data, and the path of the denoising."""
    yield axes.make(schema.ACTION_PREDICTED, "frame, action, dim", "f4")
    yield axes.make(schema.ACTION_TRUTH, "frame, action, dim", "f4")
    yield axes.make(schema.ACTION_X, "frame, point, action, model dim", "f4")
    yield axes.make(schema.ACTION_TIME, "frame, time", "f4")


def _list_summaries(axes: _Axes) -> Iterator[Dataset]:
    """Yield masses, entropies and value norms."""
    kind: Kind = "f4" if axes.keeps_all_maps else "score"
    tokens, horizon = axes.sizes.tokens, axes.sizes.horizon
    yield axes.make(schema.TEXT_MASS, "frame, layer, token, head, group", kind, tokens=tokens)
    yield axes.make(schema.ACTION_MASS, "frame, layer, token, step, head, group", kind, tokens=horizon)
    yield axes.make(schema.TEXT_ENTROPY, "frame, layer, token, head", kind, tokens=tokens)
    yield axes.make(schema.ACTION_ENTROPY, "frame, layer, token, step, head", kind, tokens=horizon)
    yield axes.make(schema.TEXT_VALUE_NORM_IMAGE, "frame, layer, head, camera, row, col", "f4")
    yield axes.make(schema.TEXT_VALUE_NORM_TEXT, "frame, layer, head, text", "f4")
    yield axes.make(schema.ACTION_VALUE_NORM_IMAGE, "frame, layer, head, camera, row, col", "f4")
    yield axes.make(schema.ACTION_VALUE_NORM_TEXT, "frame, layer, head, text", "f4")
    yield axes.make(schema.ACTION_VALUE_NORM_ACTION, "frame, layer, step, head, action", "f4")


def _list_scores(axes: _Axes) -> Iterator[Dataset]:
    """Yield the scores of words and regions."""
    yield axes.make(scores.WORD, "frame, token", "i4", tokens=axes.sizes.tokens)
    if axes.sizes.regions:
        yield axes.make(scores.COVERAGE, "frame, region, camera, row, col", "score")
    chunk = [axis for axis in axes.lengths if axis not in ("frame", "region")]
    for name, names in scores.AXES.items():
        if axes.sizes.regions or "region" not in names:  # a chunk holds one region, or all that there is
            yield axes.make(name, names, "score", chunk=chunk)
