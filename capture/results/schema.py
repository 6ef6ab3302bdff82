"""Layout of the results file: name, axes, number type and chunks of every dataset.

The writer and the viewer both take the names from here, and `FORMAT.md` describes the same layout. Imports numpy and
the standard library only, so that results can be viewed without torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from capture.results import scores_schema as scores
from capture.results.bfloat16 import from_bfloat16 as from_bfloat16
from capture.results.bfloat16 import to_bfloat16 as to_bfloat16

FORMAT: Final = "pi0-attention"
FORMAT_VERSION: Final = (1, 3)
PARTIAL_SUFFIX: Final = ".partial"
"""Suffix of a file that is still being written: `<final name>.partial`."""

FAILED_SUFFIX: Final = ".failed"
"""Suffix of a text file of one sentence beside the results file of an episode that was not, or not wholly, captured."""

RUN_ATTRIBUTE: Final = "run"
"""Root attribute: what defines the run, as a JSON object; only a run with the same definition may resume the file."""

PROVENANCE_ATTRIBUTE: Final = "provenance"
"""Root attribute: decisions about the input with their reasons, as a JSON list of objects; since format 1.1."""

ROLLOUT_ATTRIBUTE: Final = "rollout"
"""Root attribute of a recorded rollout: how its calls were recorded and how it ended, as a JSON object; since 1.2."""

INDEX_NAME: Final = "index.json"
ROLLOUTS: Final = "rollouts"
"""`source.kind` in the index of a run whose episodes are recorded while a policy acts."""
INDEX_FORMAT: Final = "pi0-attention-index"
INDEX_VERSION: Final = (1, 0)
"""A run over several episodes: one results file an episode, and this small file beside them that names them."""

ROLES: Final = ("bos", "template", "prompt", "state", "newline", "pad")
"""Roles of text tokens; the position in this tuple is the stored enum value."""

MODEL_PIXELS: Final = 224
PATCH_PIXELS: Final = 14
GRID: Final = MODEL_PIXELS // PATCH_PIXELS
"""Patches along one side of Pi0.5's picture. What a file holds is in its `Sizes` and in the shapes of its datasets."""

FRAMES_DONE: Final = "frames/done"
FRAMES_INDEX: Final = "frames/index"
FRAMES_TIME: Final = "frames/time"
FRAMES_EPISODE: Final = "frames/episode"
FRAMES_PROMPT: Final = "frames/prompt"
FRAMES_TEXT: Final = "frames/text"
FRAMES_STATE: Final = "frames/state"
FRAMES_SEED: Final = "frames/seed"
FRAMES_NOISE: Final = "frames/noise"
FRAMES_CLOCK: Final = "frames/clock"
FRAMES_CALL_SECONDS: Final = "frames/call_seconds"
FRAMES_DROPPED: Final = "frames/dropped"
"""The last three are in files of rollouts only (`Sizes.is_rollout`)."""

TEXT_ID: Final = "text/id"
TEXT_PIECE: Final = "text/piece"
TEXT_START: Final = "text/start"
TEXT_STOP: Final = "text/stop"
TEXT_ROLE: Final = "text/role"
TEXT_WORD: Final = "text/word"
TEXT_STATE_INDEX: Final = "text/state_index"
TEXT_POSITION: Final = "text/position"
IMAGE_POSITION: Final = "image/position"

TEXT_TO_IMAGE: Final = "text/to_image"
TEXT_TO_TEXT: Final = "text/to_text"
ACTION_TO_IMAGE: Final = "action/to_image"
ACTION_TO_TEXT: Final = "action/to_text"
ACTION_TO_ACTION: Final = "action/to_action"
IMAGE_TO_IMAGE: Final = "image/to_image"
IMAGE_TO_TEXT: Final = "image/to_text"

ACTION_PREDICTED: Final = "action/predicted"
ACTION_TRUTH: Final = "action/truth"
ACTION_X: Final = "action/x"
ACTION_TIME: Final = "action/time"

TEXT_MASS: Final = "text/mass"
ACTION_MASS: Final = "action/mass"
TEXT_ENTROPY: Final = "text/entropy"
ACTION_ENTROPY: Final = "action/entropy"
TEXT_VALUE_NORM_IMAGE: Final = "text/value_norm_image"
TEXT_VALUE_NORM_TEXT: Final = "text/value_norm_text"
ACTION_VALUE_NORM_IMAGE: Final = "action/value_norm_image"
ACTION_VALUE_NORM_TEXT: Final = "action/value_norm_text"
ACTION_VALUE_NORM_ACTION: Final = "action/value_norm_action"

GROUPS_ATTRIBUTE: Final = "groups"
AXES_ATTRIBUTE: Final = "axes"
DESCRIPTION_ATTRIBUTE: Final = "description"

CHECK_ROW_SUM: Final = "row_sum_error"
CHECK_MASKED: Final = "masked_weight"
CHECK_ACTIONS: Final = "action_difference"
CHECK_TIME: Final = "time_ratio"
CHECK_SINCE: Final = "since_frame"
CHECK_SECONDS: Final = "seconds_a_frame"
"""Keys of the root attribute `checks`; null or absent where a check was not made."""

ROW_SUM_LIMITS: Final = {"bfloat16": 1e-2, "float32": 1e-4}
"""Largest accepted distance of a row's sum from 1, by number type; more is a fault of the weights or the policy."""

MAPS: Final = (TEXT_TO_IMAGE, TEXT_TO_TEXT, ACTION_TO_IMAGE, ACTION_TO_TEXT, ACTION_TO_ACTION)
NORMS: Final = (TEXT_VALUE_NORM_IMAGE, TEXT_VALUE_NORM_TEXT, ACTION_VALUE_NORM_IMAGE, ACTION_VALUE_NORM_TEXT)
OF_MAPS: Final = frozenset((*MAPS, IMAGE_TO_IMAGE, IMAGE_TO_TEXT, *NORMS, ACTION_VALUE_NORM_ACTION))
"""What a frame lacks whose summaries alone are kept; the datasets exist all the same."""

Kind = Literal["weight", "score", "f4", "f8", "i4", "i8", "u1", "str", "role"]
"""Number type of a dataset; `weight` is bfloat16 and `score` float16, both float32 where the user asked for it."""


def source_name(camera: str) -> str:
    """Return the name of the dataset of a camera's original pictures, (frame, y, x, 3) uint8 RGB."""
    return f"images/{camera}/source"


def model_picture_name(camera: str) -> str:
    """Return the name of the dataset of a camera's model inputs, (frame, y, x, 3) uint8 RGB: 224 x 224 in Pi0.5."""
    return f"images/{camera}/model"


def to_model_name(camera: str) -> str:
    """Return the name of the dataset of affine maps, (frame, 2, 3) float64: source to model pixels."""
    return f"images/{camera}/to_model"


def mass_groups(cameras: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the key groups of `text/mass` and `action/mass`, in stored order."""
    pictures = tuple(name for camera in cameras for name in (camera, f"{camera} bars"))
    return (*pictures, "bos", "prompt", "template", "state", "newline", "action")


ROLLOUT_ROWS: Final = 64
"""Frames in a chunk of `frames/*` of a rollout, whose number of frames is not known when the file is made."""


@dataclass(frozen=True)
class Sizes:
    """Lengths of the axes of one results file."""

    frames: int
    """Number of frames that the file will have; 0 for a rollout, whose file grows by a frame at a time."""
    cameras: tuple[str, ...]
    layers: tuple[int, ...]
    """Numbers of the recorded layers, counted from 0, in axis order."""
    steps: tuple[int, ...]
    """Numbers of the recorded denoise steps, counted from 0, in axis order."""
    heads: int
    tokens: int
    """Text tokens of the longest prompt in the file."""
    horizon: int
    denoise_steps: int
    """Denoise steps that the policy takes, recorded or not."""
    state_dim: int
    robot_dim: int
    """Action dimensions in robot units."""
    model_dim: int
    """Action dimensions inside the model (32)."""
    pictures: tuple[tuple[int, int], ...]
    """Height and width of each camera's source pictures."""
    full: bool = False
    """Whether the rows of image tokens are kept too."""
    text_bytes: int = 4096
    """Room for `frames/text`, `frames/prompt` and `frames/episode`, each, in bytes of UTF-8."""
    piece_bytes: int = 96
    """Room for one entry of `text/piece`, in bytes of UTF-8; Gemma's longest piece has 93."""
    grid: tuple[int, int] = (GRID, GRID)
    """Rows and columns of image tokens of a camera."""
    model_picture: tuple[int, int] = (MODEL_PIXELS, MODEL_PIXELS)
    """Height and width of a picture as the model sees it; a patch is one `grid` cell of it."""
    is_rollout: bool = False
    """Whether the frames are calls of a policy that acts: how many is not known in advance, and each has a time."""
    maps_every: int = scores.ALL_MAPS
    """The maps of each so many-th frame are kept; 0 for none."""
    regions: tuple[str, ...] = ()
    """Names of the regions whose scores are stored."""
    words: int = 0
    """Words, state values and marks of the longest prompt in the file; used where there are summaries."""

    @property
    def has_scores(self) -> bool:
        """Whether the file has summaries of words and regions (`scores/*`)."""
        return self.maps_every != scores.ALL_MAPS or bool(self.regions)


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


def datasets(sizes: Sizes) -> Iterator[Dataset]:
    """Yield every dataset of a file of these sizes, in the order in which they are created.

    A chunk holds what the viewer reads at once: all steps and heads of an action's row (82 KB at full size), all
    layers and heads of a word's row, or one picture.
    """
    frames, heads, tokens, horizon = sizes.frames, sizes.heads, sizes.tokens, sizes.horizon
    layers, steps, cameras = len(sizes.layers), len(sizes.steps), len(sizes.cameras)
    groups = len(mass_groups(sizes.cameras))
    length = {
        "frame": frames,
        "layer": layers,
        "step": steps,
        "head": heads,
        "camera": cameras,
        "row": sizes.grid[0],
        "col": sizes.grid[1],
        "text": tokens,
        "action": horizon,
        "group": groups,
        "state": sizes.state_dim,
        "dim": sizes.robot_dim,
        "model dim": sizes.model_dim,
        "time": sizes.denoise_steps,
        "point": sizes.denoise_steps + 1,
        "word": sizes.words,
        "region": len(sizes.regions),
    }
    keeps_all = sizes.maps_every == scores.ALL_MAPS
    summary: Kind = "f4" if keeps_all else "score"

    def make(name: str, axes: str, kind: Kind, *, token: int = 0, whole: Sequence[str] | None = None) -> Dataset:
        words = tuple(word.strip() for word in axes.split(","))
        shape = tuple(token if word == "token" else length[word] for word in words)
        if whole is None:  # one frame a chunk
            chunks = (1, *shape[1:])
        else:
            chunks = tuple(size if word in whole else 1 for word, size in zip(words, shape, strict=True))
        room = sizes.piece_bytes if kind == "str" else 0
        fill = float("nan") if name in OF_MAPS and not keeps_all else FILL.get(name, 0)
        chunks = tuple(max(1, size) for size in chunks)
        return Dataset(name, words, shape, kind, chunks, room, fill, is_packed=kind == "score")

    yield Dataset(FRAMES_DONE, (), (), "i8", None)
    per_frame: tuple[tuple[str, Kind], ...] = (
        (FRAMES_INDEX, "i8"),
        (FRAMES_TIME, "f8"),
        (FRAMES_EPISODE, "str"),
        (FRAMES_PROMPT, "str"),
        (FRAMES_TEXT, "str"),
        (FRAMES_SEED, "i8"),
    )
    if sizes.is_rollout:
        per_frame += ((FRAMES_CLOCK, "f8"), (FRAMES_CALL_SECONDS, "f8"), (FRAMES_DROPPED, "i8"))
    if sizes.has_scores:
        per_frame += ((scores.HAS_MAPS, "u1"), (scores.ROW_SUM_ERROR, "f4"))
    for name, kind in per_frame:
        room = sizes.text_bytes if kind == "str" else 0
        rows = 65_536 // (room or 64)  # a finished frame rewrites no more than 64 KiB of text
        chunk = max(1, min(ROLLOUT_ROWS if sizes.is_rollout else frames, rows))
        yield Dataset(name, ("frame",), (frames,), kind, (chunk,), room)
    yield make(FRAMES_STATE, "frame, state", "f4")
    yield make(FRAMES_NOISE, "frame, action, model dim", "f4")

    for camera, (height, width) in zip(sizes.cameras, sizes.pictures, strict=True):
        for name, y, x in (
            (source_name(camera), height, width),
            (model_picture_name(camera), *sizes.model_picture),
        ):
            yield Dataset(name, ("frame", "y", "x", "rgb"), (frames, y, x, 3), "u1", (1, y, x, 3))
        yield Dataset(to_model_name(camera), ("frame", "xy", "xy1"), (frames, 2, 3), "f8", (1, 2, 3))

    per_token: tuple[tuple[str, Kind], ...] = (
        (TEXT_ID, "i4"),
        (TEXT_PIECE, "str"),
        (TEXT_START, "i4"),
        (TEXT_STOP, "i4"),
        (TEXT_ROLE, "role"),
        (TEXT_WORD, "i4"),
        (TEXT_STATE_INDEX, "i4"),
        (TEXT_POSITION, "i4"),
    )
    for name, kind in per_token:
        yield make(name, "frame, token", kind, token=tokens)
    yield make(IMAGE_POSITION, "frame, camera, row, col", "i4")

    image, text_row = ("camera", "row", "col"), ("layer", "head")
    action_row = ("step", "head")
    for name, axes, keys in (
        (TEXT_TO_IMAGE, "frame, layer, token, head, camera, row, col", image),
        (TEXT_TO_TEXT, "frame, layer, token, head, text", ("text",)),
    ):
        yield make(name, axes, "weight", token=tokens, whole=(*text_row, *keys))
    for name, axes, keys in (
        (ACTION_TO_IMAGE, "frame, layer, token, step, head, camera, row, col", image),
        (ACTION_TO_TEXT, "frame, layer, token, step, head, text", ("text",)),
        (ACTION_TO_ACTION, "frame, layer, token, step, head, action", ("action",)),
    ):
        yield make(name, axes, "weight", token=horizon, whole=(*action_row, *keys))
    if sizes.full:
        query = (frames, layers, heads, cameras, *sizes.grid)
        words = ("frame", "layer", "head", "camera", "row", "col")
        for name, keys, key_shape in (
            (IMAGE_TO_IMAGE, image, (cameras, *sizes.grid)),
            (IMAGE_TO_TEXT, ("text",), (tokens,)),
        ):
            chunks, fill = (1, 1, 1, 1, *sizes.grid, *key_shape), 0 if keeps_all else float("nan")
            yield Dataset(name, (*words, *keys), (*query, *key_shape), "weight", chunks, fill=fill)

    yield make(ACTION_PREDICTED, "frame, action, dim", "f4")
    yield make(ACTION_TRUTH, "frame, action, dim", "f4")
    yield make(ACTION_X, "frame, point, action, model dim", "f4")
    yield make(ACTION_TIME, "frame, time", "f4")

    yield make(TEXT_MASS, "frame, layer, token, head, group", summary, token=tokens)
    yield make(ACTION_MASS, "frame, layer, token, step, head, group", summary, token=horizon)
    yield make(TEXT_ENTROPY, "frame, layer, token, head", summary, token=tokens)
    yield make(ACTION_ENTROPY, "frame, layer, token, step, head", summary, token=horizon)
    yield make(TEXT_VALUE_NORM_IMAGE, "frame, layer, head, camera, row, col", "f4")
    yield make(TEXT_VALUE_NORM_TEXT, "frame, layer, head, text", "f4")
    yield make(ACTION_VALUE_NORM_IMAGE, "frame, layer, head, camera, row, col", "f4")
    yield make(ACTION_VALUE_NORM_TEXT, "frame, layer, head, text", "f4")
    yield make(ACTION_VALUE_NORM_ACTION, "frame, layer, step, head, action", "f4")
    if sizes.has_scores:
        yield make(scores.WORD, "frame, token", "i4", token=tokens)
        if sizes.regions:
            yield make(scores.COVERAGE, "frame, region, camera, row, col", "score")
        for name, axes in scores.AXES.items():
            if sizes.regions or "region" not in axes:  # a chunk holds one region, or all that there is
                whole = [word for word in length if word not in ("frame", "region")]
                yield make(name, axes, "score", whole=whole)


UNDEFINED_ENTROPY: Final = float("nan")
"""`text/entropy` and `action/entropy` of a row without weight on any patch that shows a picture.

Not 0, which means that all of the picture's weight is on one patch. Early files of format 1.0 hold 0 in both cases;
in them the entropy is undefined where the row's masses on the cameras (without their bars) are all 0.
"""

FILL: Final[dict[str, float]] = {
    TEXT_ROLE: ROLES.index("pad"),
    TEXT_WORD: -1,
    TEXT_STATE_INDEX: -1,
    TEXT_ENTROPY: UNDEFINED_ENTROPY,
    ACTION_ENTROPY: UNDEFINED_ENTROPY,
    ACTION_TRUTH: float("nan"),
    scores.WORD: -1,
    scores.COVERAGE: float("nan"),
    **dict.fromkeys(scores.AXES, float("nan")),
}
"""Value of a dataset where nothing was written; 0 or the empty string for datasets that are not listed.

Maps and value norms are NaN there in files that keep the maps of some frames only.
"""

Frame = dict[str, npt.NDArray[np.generic] | str | int | float]
"""One finished frame: dataset name -> its value without the frame axis.

Weights may come as float32 or as uint16 bit patterns of bfloat16 (see `to_bfloat16`). Rows over text tokens may be
shorter than the file's `tokens`; the writer leaves the rest at the fill value (role `pad`)."""


def describe_time(stamp: str) -> str:
    """Return a time of writing, as `created` has it, for people: `2026-01-01 12:00:00 UTC`."""
    return stamp.replace("T", " ").replace("+00:00", " UTC")
