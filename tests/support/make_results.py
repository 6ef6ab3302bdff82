"""Small results files written with h5py alone, as `format.md` describes them, with weights that the caller plants."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h5py
import numpy as np
import numpy.typing as npt

from capture.results import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ROLE = {name: value for value, name in enumerate(schema.ROLES)}


def bfloat16_type() -> h5py.h5t.TypeFloatID:
    kind = h5py.h5t.IEEE_F16LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(127)
    return kind


@dataclass
class Prompt:
    """The text of a frame cut into pieces: (piece, role, word, state_index)."""

    text: str
    pieces: list[tuple[str, str, int, int]]
    spans: list[tuple[int, int]]


def prompt(task: str, state: Sequence[float]) -> Prompt:
    """Task and state laid out like the real tokenizer's output: words of one or two pieces, a piece a digit."""
    pieces: list[tuple[str, str, int, int]] = [("<bos>", "bos", -1, -1)]
    spans = [(0, 0)]
    text, word = "", 0

    def add(piece: str, role: str, number: int, index: int = -1) -> None:
        nonlocal text
        shown = piece.replace("\u2581", " ")
        if not text:
            shown = shown.lstrip(" ")
        spans.append((len(text), len(text) + len(shown)))
        text += shown
        pieces.append((piece, role, number, index))

    add("Task", "template", word)
    add(":", "template", word)
    for name in task.split(" "):
        word += 1
        half = len(name) // 2
        if len(name) > 5:
            add("\u2581" + name[:half], "prompt", word)
            add(name[half:], "prompt", word)
        else:
            add("\u2581" + name, "prompt", word)
    word += 1
    add(",", "template", word)
    word += 1
    add("\u2581State", "template", word)
    add(":", "template", word)
    for index, value in enumerate(state):
        word += 1
        add("\u2581", "state", word, index)
        for digit in str(int((value + 1) * 128)):
            add(digit, "state", word, index)
    word += 1
    add(";", "template", word)
    add("\n", "newline", -1)
    word += 1
    add("Action", "template", word)
    add(":", "template", word)
    add("\u2581", "template", -1)
    return Prompt(text, pieces, spans)


@dataclass
class Recipe:
    """What to write; every field has a small default."""

    frames: int = 3
    cameras: tuple[str, ...] = ("exterior", "wrist")
    size: tuple[int, int] = (72, 128)
    turned: tuple[str, ...] = ()
    """Cameras whose picture is turned by 180 degrees on its way into the model."""
    layers: int = 4
    heads: int = 3
    steps: int = 3
    horizon: int = 5
    tasks: tuple[str, ...] = ("put the duck in the bowl",)
    """One prompt a frame, repeated in turn."""
    counterfactual: bool = False
    """Whether every moment is there once with each of the tasks."""
    episodes: tuple[str, ...] = ("episode 3",)
    """The frames are divided over these, in order."""
    rate: float = 5.0
    """Moments a second."""
    weights: str = "bfloat16"
    seed: int = 0
    plant: Callable[[str, npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]], None] | None = (
        None
    )
    """Called per frame with "text" or "action" and the float32 blocks to_image, to_text, to_action; changes them."""
    summaries: bool = True
    norms: bool = True
    done: int | None = None
    complete: bool = True
    extra: dict[str, object] = field(default_factory=dict)
    """Root attributes to replace; None takes one away."""


def to_model(height: int, width: int, turned: bool) -> npt.NDArray[np.float64]:
    """The letterbox of the specification, written independently of the viewer's own geometry."""
    ratio = max(width / 224, height / 224)
    rows, cols = int(height / ratio), int(width / ratio)
    top, left = int((224 - rows) / 2), int((224 - cols) / 2)
    matrix = np.array([[cols / width, 0, left], [0, rows / height, top]], np.float64)
    if turned:
        matrix = np.array([[-cols / width, 0, left + cols], [0, -rows / height, top + rows]], np.float64)
    return matrix


def bars(height: int, width: int) -> npt.NDArray[np.bool_]:
    ratio = max(width / 224, height / 224)
    rows, cols = int(height / ratio), int(width / ratio)
    top, left = int((224 - rows) / 2), int((224 - cols) / 2)
    inside = np.zeros((224, 224), bool)
    inside[top : top + rows, left : left + cols] = True
    return ~inside.reshape(16, 14, 16, 14).any((1, 3))


def scene(frame: int, camera: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A quiet picture: a grey ramp with a coloured square, different in each camera and frame."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([60 + 60 * x / width, 60 + 60 * y / height, np.full((height, width), 80.0)], -1)
    side = height // 6
    top, left = height // 3 + frame % 7, width // 3 + camera * side + frame % 11
    picture[top : top + side, left : left + side] = (40, 60, 160)
    return picture.astype(np.uint8)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Weights like those of a trained model: a few keys take most of it."""
    return np.exp(2.2 * rng.standard_normal(shape, dtype=np.float32))


def _normalise(blocks: list[npt.NDArray[np.float32]], lead: int) -> None:
    total = sum(block.reshape(*block.shape[:lead], -1).sum(-1) for block in blocks)
    for block in blocks:
        block /= np.maximum(np.asarray(total), 1e-30).reshape(*block.shape[:lead], *(1,) * (block.ndim - lead))


def rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values as bfloat16 keeps them."""
    return schema.from_bfloat16(schema.to_bfloat16(values))


def write(path: Path, recipe: Recipe | None = None) -> Path:
    recipe = recipe or Recipe()
    rng = np.random.default_rng(recipe.seed)
    states = [np.round(rng.uniform(-1, 0.98, 4), 3) for _ in range(recipe.frames)]
    prompts = [prompt(recipe.tasks[f % len(recipe.tasks)], states[f]) for f in range(recipe.frames)]
    tokens = max(len(p.pieces) for p in prompts) if prompts else 8
    _height, _width = recipe.size
    sizes = schema.Sizes(
        frames=recipe.frames,
        cameras=recipe.cameras,
        layers=tuple(range(recipe.layers)),
        steps=tuple(range(recipe.steps)),
        heads=recipe.heads,
        tokens=tokens,
        horizon=recipe.horizon,
        denoise_steps=recipe.steps,
        state_dim=4,
        robot_dim=3,
        model_dim=32,
        pictures=(recipe.size,) * len(recipe.cameras),
    )
    groups = schema.mass_groups(recipe.cameras)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        attributes = {
            "format": schema.FORMAT,
            "format_version": list(schema.FORMAT_VERSION),
            "uuid": f"00000000-0000-4000-8000-{recipe.seed:012d}",
            "created": "2026-01-01T00:00:00+00:00",
            "generator": "pi0-capture 0.0.0",
            "model": json.dumps(
                {
                    "layers": recipe.layers,
                    "heads": recipe.heads,
                    "horizon": recipe.horizon,
                    "steps": recipe.steps,
                    "action_dim": 32,
                    "dtype": "bfloat16",
                    "kind": "demo",
                    "checkpoint": "planted",
                    "config": "0",
                }
            ),
            "cameras": list(recipe.cameras),
            "layers": list(range(recipe.layers)),
            "steps": list(range(recipe.steps)),
            "complete": recipe.complete,
            "checks": json.dumps({"row_sum_error": 0.002}),
        }
        attributes.update(recipe.extra)
        for name, value in attributes.items():
            if value is not None:
                file.attrs[name] = value
        for dataset in schema.datasets(sizes):
            _create(file, dataset, recipe.weights, groups)
        for frame in range(recipe.frames):
            _write_frame(file, frame, recipe, rng, prompts[frame], states[frame], tokens, groups)
        file[schema.FRAMES_DONE][()] = recipe.frames if recipe.done is None else recipe.done
    return path


def _create(file: h5py.File, dataset: schema.Dataset, weights: str, groups: Sequence[str]) -> None:
    names = dataset.name.split("/")
    group = file.require_group("/".join(names[:-1]))
    fill = schema.FILL.get(dataset.name, 0)
    if dataset.kind == "weight" and weights == "bfloat16":
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(dataset.chunks)
        made = h5py.h5d.create(
            group.id, names[-1].encode(), bfloat16_type(), h5py.h5s.create_simple(dataset.shape), properties
        )
        h5py.Dataset(made).attrs["axes"] = list(dataset.axes)
        return
    kinds = {
        "weight": np.dtype(weights if weights != "bfloat16" else "f4"),
        "f4": np.dtype("f4"),
        "f8": np.dtype("f8"),
        "i4": np.dtype("i4"),
        "i8": np.dtype("i8"),
        "u1": np.dtype("u1"),
        "str": h5py.string_dtype(),
        "role": h5py.enum_dtype(ROLE, basetype="u1"),
    }
    made = group.create_dataset(
        names[-1],
        dataset.shape,
        kinds[dataset.kind],
        chunks=dataset.chunks,
        fillvalue=None if dataset.kind == "str" else fill,
    )
    made.attrs["axes"] = list(dataset.axes)
    if dataset.axes and dataset.axes[-1] == "group":
        made.attrs["groups"] = list(groups)


def put_weights(dataset: h5py.Dataset, frame: int, values: npt.NDArray[np.float32]) -> None:
    """Write one frame of weights, as raw bits where the dataset is bfloat16."""
    if dataset.id.get_type().get_size() == 2 and dataset.id.get_type().get_ebias() == 127:
        space = dataset.id.get_space()
        space.select_hyperslab((frame, *(0,) * values.ndim), (1, *values.shape))
        bits = schema.to_bfloat16(values)
        dataset.id.write(h5py.h5s.create_simple((1, *values.shape)), space, bits, dataset.id.get_type())
    else:
        dataset[frame] = values


def _write_frame(
    file: h5py.File,
    frame: int,
    recipe: Recipe,
    rng: np.random.Generator,
    text: Prompt,
    state: npt.NDArray[np.float64],
    tokens: int,
    groups: Sequence[str],
) -> None:
    cameras, layers, heads = len(recipe.cameras), recipe.layers, recipe.heads
    steps, horizon = recipe.steps, recipe.horizon
    height, width = recipe.size
    each = -(-recipe.frames // len(recipe.episodes))
    moment = frame % each // (len(recipe.tasks) if recipe.counterfactual else 1)
    file["frames/index"][frame] = moment * 2
    file["frames/time"][frame] = moment / recipe.rate
    file["frames/episode"][frame] = recipe.episodes[frame // each]
    file["frames/prompt"][frame] = recipe.tasks[frame % len(recipe.tasks)]
    file["frames/text"][frame] = text.text
    file["frames/state"][frame] = state
    for number, camera in enumerate(recipe.cameras):
        turned = camera in recipe.turned
        picture = scene(frame, number, height, width)
        file[f"images/{camera}/source"][frame] = picture
        file[f"images/{camera}/to_model"][frame] = to_model(height, width, turned)
        file[f"images/{camera}/model"][frame] = boxed(picture[::-1, ::-1] if turned else picture)
    valid = len(text.pieces)
    for name, column in (("piece", 0), ("role", 1), ("word", 2), ("state_index", 3)):
        values = [piece[column] for piece in text.pieces]
        file[f"text/{name}"][frame, :valid] = [ROLE[str(v)] for v in values] if name == "role" else values
    file["text/start"][frame, :valid] = [start for start, _ in text.spans]
    file["text/stop"][frame, :valid] = [stop for _, stop in text.spans]
    file["text/id"][frame, :valid] = np.arange(valid)
    file["text/position"][frame, :valid] = 256 * cameras + np.arange(valid)
    blocks = {
        "text": [
            heavy(rng, (layers, tokens, heads, cameras, 16, 16)),
            heavy(rng, (layers, tokens, heads, tokens)),
            np.zeros((layers, tokens, heads, 0), np.float32),
        ],
        "action": [
            heavy(rng, (layers, horizon, steps, heads, cameras, 16, 16)),
            heavy(rng, (layers, horizon, steps, heads, tokens)),
            heavy(rng, (layers, horizon, steps, heads, horizon)),
        ],
    }
    padding = bars(height, width)
    patches = np.concatenate(
        [np.where(padding, groups.index(f"{c} bars"), groups.index(c)).ravel() for c in recipe.cameras]
        or [np.zeros(0, int)]
    )
    roles = np.array([groups.index(p[1]) for p in text.pieces])
    for kind, (image, words, actions) in blocks.items():
        words[..., valid:] = 0
        lead = words.ndim - 1
        if recipe.plant is not None:
            recipe.plant(kind, image, words, actions)
        if kind == "text":
            image[:, valid:] = 0
            words[:, valid:] = 0
        _normalise([image, words, actions], lead)
        put_weights(file[f"{kind}/to_image"], frame, image)
        put_weights(file[f"{kind}/to_text"], frame, words)
        if kind == "action":
            put_weights(file["action/to_action"], frame, actions)
        if recipe.summaries:
            mass = np.zeros((*words.shape[:-1], len(groups)), np.float32)
            flat = image.reshape(*words.shape[:-1], -1)
            for group in range(len(groups)):
                mass[..., group] = flat[..., patches == group].sum(-1) + words[..., :valid][..., roles == group].sum(-1)
            mass[..., groups.index("action")] += actions.sum(-1)
            file[f"{kind}/mass"][frame] = mass
            shown = flat[..., ~np.tile(padding.ravel(), cameras)]
            share = shown / np.maximum(shown.sum(-1, keepdims=True), 1e-30)
            file[f"{kind}/entropy"][frame] = -(share * np.log(np.maximum(share, 1e-30))).sum(-1)
        if recipe.norms:
            file[f"{kind}/value_norm_image"][frame] = 1 + rng.random((layers, heads, cameras, 16, 16))
            file[f"{kind}/value_norm_text"][frame] = 1 + rng.random((layers, heads, tokens))
            if kind == "action":
                file["action/value_norm_action"][frame] = 1 + rng.random((layers, steps, heads, horizon))
    chunk = np.linspace(0, 1, horizon)[:, None] * np.array([1.0, -1.0, 0.5]) + 0.05 * frame
    file["action/predicted"][frame] = chunk
    file["action/truth"][frame] = chunk + 0.03
    path = rng.standard_normal((steps + 1, horizon, 32)) * np.linspace(1, 0.1, steps + 1)[:, None, None]
    file["action/x"][frame] = path
    file["action/time"][frame] = np.linspace(1, 1 / steps, steps) if steps else np.zeros(0)


def boxed(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The model's picture by nearest neighbour."""
    height, width = picture.shape[:2]
    ratio = max(width / 224, height / 224)
    rows, cols = int(height / ratio), int(width / ratio)
    top, left = int((224 - rows) / 2), int((224 - cols) / 2)
    made = np.zeros((224, 224, 3), np.uint8)
    made[top : top + rows, left : left + cols] = picture[
        (np.arange(rows) * height // rows)[:, None], (np.arange(cols) * width // cols)[None]
    ]
    return made
