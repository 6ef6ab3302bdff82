"""Small results files for tests, written by capture's own `ResultsWriter`, with weights that the caller can set.

Files of kinds that capture does not write (float16 weights, an unfinished file under its final name) are written first
and edited with h5py then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h5py
import numpy as np
import numpy.typing as npt

from capture.results import schema
from capture.results.writer import ResultsWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STATE_DIM, ROBOT_DIM, MODEL_DIM = 4, 3, 32
ROLE = {name: value for value, name in enumerate(schema.ROLES)}
WEIGHTS = (
    schema.TEXT_TO_IMAGE,
    schema.TEXT_TO_TEXT,
    schema.ACTION_TO_IMAGE,
    schema.ACTION_TO_TEXT,
    schema.ACTION_TO_ACTION,
)


@dataclass
class Prompt:
    """The text of a frame cut into pieces: (piece, role, word, state_index)."""

    text: str
    pieces: list[tuple[str, str, int, int]]
    spans: list[tuple[int, int]]


def prompt(task: str, state: Sequence[float]) -> Prompt:
    """Return task and state as the real tokenizer cuts them: words of one or two pieces, one piece for each digit."""
    pieces: list[tuple[str, str, int, int]] = [("<bos>", "bos", -1, -1)]
    spans = [(0, 0)]
    text, word = "", 0

    def add(piece: str, role: str, number: int, index: int = -1) -> None:
        nonlocal text
        spelled = piece.replace("\u2581", " ")
        if not text:
            spelled = spelled.lstrip(" ")
        spans.append((len(text), len(text) + len(spelled)))
        text += spelled
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
    """Height and width of the cameras' pictures."""
    turned: tuple[str, ...] = ()
    """Cameras whose picture is turned by 180 degrees on its way into the model."""
    layers: int = 4
    heads: int = 3
    steps: int = 3
    horizon: int = 5
    grid: tuple[int, int] = (16, 16)
    """Rows and columns of patches of a camera."""
    model_picture: tuple[int, int] = (224, 224)
    """Height and width of the pictures that the model sees."""
    tasks: tuple[str, ...] = ("put the duck in the bowl",)
    """One prompt a frame, repeated in turn."""
    counterfactual: bool = False
    """Whether every moment is there once with each of the tasks."""
    episodes: tuple[str, ...] = ("episode 3",)
    """The frames are divided over these, in order."""
    rate: float = 5.0
    """SyntheticEpisode a second."""
    weights: str = "bfloat16"
    """Number type of the weights: `bfloat16` or `f4`, which capture writes, or another of numpy's."""
    seed: int = 0
    plant: Callable[[str, npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]], None] | None = (
        None
    )
    """Called for each frame with "text" or "action" and the float32 blocks to_image, to_text and to_action, which it
    changes before they are normalised."""
    summaries: bool = True
    """Whether masses and entropies are filled in."""
    norms: bool = True
    """Whether value norms are filled in."""
    done: int | None = None
    """What `frames/done` says; None for all frames."""
    complete: bool = True
    extra: dict[str, object] = field(default_factory=dict)
    """Root attributes to replace; None takes one away."""


def write(path: Path, recipe: Recipe | None = None) -> Path:
    """Write the file and return its path."""
    recipe = recipe or Recipe()
    rng = np.random.default_rng(recipe.seed)
    states = [np.round(rng.uniform(-1, 0.98, STATE_DIM), 3) for _ in range(recipe.frames)]
    prompts = [prompt(recipe.tasks[frame % len(recipe.tasks)], states[frame]) for frame in range(recipe.frames)]
    tokens = max(len(prompt.pieces) for prompt in prompts)
    with ResultsWriter(
        path,
        _sizes(recipe, tokens),
        model={
            "layers": recipe.layers,
            "heads": recipe.heads,
            "horizon": recipe.horizon,
            "steps": recipe.steps,
            "action_dim": MODEL_DIM,
            "dtype": "bfloat16",
            "kind": "demo",
            "name": "planted",
            "config_hash": "0",
        },
        generator="pi0-capture 0.0.0",
        weights="bfloat16" if recipe.weights == "bfloat16" else "float32",
        overwrite=True,
        background=False,
    ) as writer:
        for frame in range(recipe.frames):
            writer.write(_frame(frame, recipe, rng, prompts[frame], states[frame], tokens))
        writer.finish({schema.CHECK_ROW_SUM: 0.002})
    _edit(path, recipe)
    return path


def _sizes(recipe: Recipe, tokens: int) -> schema.Sizes:
    return schema.Sizes(
        frames=recipe.frames,
        cameras=recipe.cameras,
        layers=tuple(range(recipe.layers)),
        steps=tuple(range(recipe.steps)),
        heads=recipe.heads,
        tokens=tokens,
        horizon=recipe.horizon,
        denoise_steps=recipe.steps,
        state_dim=STATE_DIM,
        robot_dim=ROBOT_DIM,
        model_dim=MODEL_DIM,
        pictures=(recipe.size,) * len(recipe.cameras),
        grid=recipe.grid,
        model_picture=recipe.model_picture,
    )


def _edit(path: Path, recipe: Recipe) -> None:
    """Make the file the same at each run, and what capture does not write."""
    with h5py.File(path, "r+") as file:
        file.attrs["uuid"] = f"00000000-0000-4000-8000-{recipe.seed:012d}"
        file.attrs["created"] = "2026-01-01T00:00:00+00:00"
        file.attrs["complete"] = recipe.complete
        file[schema.FRAMES_DONE][()] = recipe.frames if recipe.done is None else recipe.done
        for name, value in recipe.extra.items():
            if value is None:
                del file.attrs[name]
            else:
                file.attrs[name] = value
        if recipe.weights not in {"bfloat16", "f4"}:
            for name in WEIGHTS:
                values, attributes = file[name][()], dict(file[name].attrs)
                del file[name]
                file.create_dataset(name, data=values.astype(recipe.weights)).attrs.update(attributes)


def _frame(
    frame: int,
    recipe: Recipe,
    rng: np.random.Generator,
    text: Prompt,
    state: npt.NDArray[np.float64],
    tokens: int,
) -> schema.Frame:
    """One frame as `ResultsWriter.write` takes it; its text tokens are those of its own prompt."""
    frames_per_episode = -(-recipe.frames // len(recipe.episodes))
    source_frame = frame % frames_per_episode // (len(recipe.tasks) if recipe.counterfactual else 1)
    own = len(text.pieces)
    chunk = np.linspace(0, 1, recipe.horizon)[:, None] * np.array([1.0, -1.0, 0.5]) + 0.05 * frame
    patches = len(recipe.cameras) * recipe.grid[0] * recipe.grid[1]
    values: schema.Frame = {
        schema.FRAMES_INDEX: source_frame * 2,
        schema.FRAMES_TIME: source_frame / recipe.rate,
        schema.FRAMES_EPISODE: recipe.episodes[frame // frames_per_episode],
        schema.FRAMES_PROMPT: recipe.tasks[frame % len(recipe.tasks)],
        schema.FRAMES_TEXT: text.text,
        schema.FRAMES_SEED: frame,
        schema.FRAMES_STATE: state,
        schema.FRAMES_NOISE: np.zeros((recipe.horizon, MODEL_DIM), np.float32),
        schema.TEXT_ID: np.arange(own),
        schema.TEXT_PIECE: np.array([piece for piece, *_ in text.pieces], object),
        schema.TEXT_ROLE: np.array([ROLE[role] for _, role, *_ in text.pieces]),
        schema.TEXT_WORD: np.array([word for *_, word, _ in text.pieces]),
        schema.TEXT_STATE_INDEX: np.array([index for *_, index in text.pieces]),
        schema.TEXT_START: np.array([start for start, _ in text.spans]),
        schema.TEXT_STOP: np.array([stop for _, stop in text.spans]),
        schema.TEXT_POSITION: patches + np.arange(own),
        schema.IMAGE_POSITION: np.arange(patches).reshape(len(recipe.cameras), *recipe.grid),
        schema.ACTION_PREDICTED: chunk,
        schema.ACTION_TRUTH: chunk + 0.03,
        schema.ACTION_TIME: np.linspace(1, 1 / recipe.steps, recipe.steps),
    }
    for number, camera in enumerate(recipe.cameras):
        is_turned = camera in recipe.turned
        picture = scene(frame, number, *recipe.size)
        values[schema.source_name(camera)] = picture
        values[schema.to_model_name(camera)] = to_model(*recipe.size, is_turned, recipe.model_picture)
        values[schema.model_picture_name(camera)] = letterboxed(
            picture[::-1, ::-1] if is_turned else picture, recipe.model_picture
        )
    values |= _attention(recipe, rng, text, tokens)
    path = rng.standard_normal((recipe.steps + 1, recipe.horizon, MODEL_DIM))
    values[schema.ACTION_X] = path * np.linspace(1, 0.1, recipe.steps + 1)[:, None, None]
    return values


def _attention(recipe: Recipe, rng: np.random.Generator, text: Prompt, tokens: int) -> schema.Frame:
    """Weights, summaries and value norms of one frame."""
    lead = {"text": (recipe.layers, tokens, recipe.heads),
            "action": (recipe.layers, recipe.horizon, recipe.steps, recipe.heads)}  # fmt: skip
    maps = len(recipe.cameras), *recipe.grid
    blocks = {
        kind: [heavy(rng, (*shape, *maps)), heavy(rng, (*shape, tokens)), _own_keys(rng, kind, shape, recipe.horizon)]
        for kind, shape in lead.items()
    }
    own, values = len(text.pieces), schema.Frame()
    groups = schema.mass_groups(recipe.cameras)
    padding = bars(*recipe.size, recipe.grid, recipe.model_picture)
    group_of_patch = np.concatenate(
        [np.where(padding, groups.index(f"{camera} bars"), groups.index(camera)).ravel() for camera in recipe.cameras]
    )
    roles = [groups.index(role) for _, role, *_ in text.pieces]
    group_of_key = np.concatenate([group_of_patch, roles, np.full(recipe.horizon, groups.index("action"))])
    for kind, parts in blocks.items():
        if recipe.plant is not None:
            recipe.plant(kind, *parts)
        image, words, actions = parts
        words = words[..., :own]
        if kind == "text":
            image, words, actions = image[:, :own], words[:, :own], actions[:, :own]
        flat = np.concatenate([image.reshape(*words.shape[:-1], -1), words, actions], -1)
        flat /= np.maximum(flat.sum(-1, keepdims=True), 1e-30)
        if recipe.weights == "bfloat16":
            flat = rounded(flat)
        count = group_of_patch.size
        stored = schema.to_bfloat16(flat) if recipe.weights == "bfloat16" else flat
        values[f"{kind}/to_image"] = stored[..., :count].reshape(image.shape)
        values[f"{kind}/to_text"] = stored[..., count : count + own]
        if kind == "action":
            values[schema.ACTION_TO_ACTION] = stored[..., count + own :]
        member = np.eye(len(groups), dtype=np.float32)[group_of_key[: flat.shape[-1]]]
        mass = flat @ member if recipe.summaries else np.zeros((*flat.shape[:-1], len(groups)), np.float32)
        values[f"{kind}/mass"] = mass
        picture = flat[..., :count][..., ~np.tile(padding.ravel(), len(recipe.cameras))]
        share = picture / np.maximum(picture.sum(-1, keepdims=True), 1e-30)
        entropy = -(share * np.log(np.maximum(share, 1e-30))).sum(-1)
        entropy[picture.sum(-1) == 0] = np.nan
        values[f"{kind}/entropy"] = entropy if recipe.summaries else np.zeros_like(entropy)
        norms = [rng.random((recipe.layers, recipe.heads, *maps)), rng.random((recipe.layers, recipe.heads, tokens))]
        names = [f"{kind}/value_norm_image", f"{kind}/value_norm_text"]
        norms[1] = norms[1][..., :own]
        if kind == "action":
            names.append(schema.ACTION_VALUE_NORM_ACTION)
            norms.append(rng.random((recipe.layers, recipe.steps, recipe.heads, recipe.horizon)))
        for name, norm in zip(names, norms, strict=True):
            values[name] = (1 + norm if recipe.norms else np.zeros_like(norm)).astype(np.float32)
    return values


def _own_keys(rng: np.random.Generator, kind: str, lead: tuple[int, ...], horizon: int) -> npt.NDArray[np.float32]:
    """Weights on the action keys, which words do not see."""
    return heavy(rng, (*lead, horizon if kind == "action" else 0))


def _letterbox(height: int, width: int, model_picture: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows and columns of the picture in the model's, and the padding above and to the left of it."""
    ratio = max(width / model_picture[1], height / model_picture[0])
    rows, cols = int(height / ratio), int(width / ratio)
    return rows, cols, int((model_picture[0] - rows) / 2), int((model_picture[1] - cols) / 2)


def to_model(
    height: int, width: int, is_turned: bool, model_picture: tuple[int, int] = (224, 224)
) -> npt.NDArray[np.float64]:
    """Return the map of a letterbox as FORMAT.md describes it, independently of the viewer's own geometry."""
    rows, cols, top, left = _letterbox(height, width, model_picture)
    if is_turned:
        return np.array([[-cols / width, 0, left + cols], [0, -rows / height, top + rows]], np.float64)
    return np.array([[cols / width, 0, left], [0, rows / height, top]], np.float64)


def bars(
    height: int, width: int, grid: tuple[int, int] = (16, 16), model_picture: tuple[int, int] = (224, 224)
) -> npt.NDArray[np.bool_]:
    """Return which patches lie wholly in the letterbox bars: `grid` bool."""
    rows, cols, top, left = _letterbox(height, width, model_picture)
    inside = np.zeros(model_picture, bool)
    inside[top : top + rows, left : left + cols] = True
    tall, wide = model_picture[0] // grid[0], model_picture[1] // grid[1]
    return ~inside.reshape(grid[0], tall, grid[1], wide).any((1, 3))


def letterboxed(picture: npt.NDArray[np.uint8], model_picture: tuple[int, int] = (224, 224)) -> npt.NDArray[np.uint8]:
    """Return the model's picture by nearest neighbour."""
    height, width = picture.shape[:2]
    rows, cols, top, left = _letterbox(height, width, model_picture)
    canvas = np.zeros((*model_picture, 3), np.uint8)
    canvas[top : top + rows, left : left + cols] = picture[
        (np.arange(rows) * height // rows)[:, None], (np.arange(cols) * width // cols)[None]
    ]
    return canvas


def scene(frame: int, camera: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a grey ramp with a coloured square, different in each camera and frame."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([60 + 60 * x / width, 60 + 60 * y / height, np.full((height, width), 80.0)], -1)
    side = height // 6
    top, left = height // 3 + frame % 7, width // 3 + camera * side + frame % 11
    picture[top : top + side, left : left + side] = (40, 60, 160)
    return picture.astype(np.uint8)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return weights like those of a trained model: a few keys take most of the sum."""
    return np.exp(2.2 * rng.standard_normal(shape, dtype=np.float32))


def rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return values as bfloat16 keeps them."""
    return schema.from_bfloat16(schema.to_bfloat16(values))
