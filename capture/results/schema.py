"""Names in a results file and in the index of a run, and the lengths of its axes.

The writer and the viewer both take the names from here, and `FORMAT.md` describes them; `dataset_layout` has the shape
of every dataset. Imports numpy and the standard library only, so that results can be viewed without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

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


UNDEFINED_ENTROPY: Final = float("nan")
"""`text/entropy` and `action/entropy` of a row without weight on any patch that shows a picture.

Not 0, which means that all of the picture's weight is on one patch. Early files of format 1.0 hold 0 in both cases;
in them the entropy is undefined where the row's masses on the cameras (without their bars) are all 0.
"""

Frame = dict[str, npt.NDArray[np.generic] | str | int | float]
"""One finished frame: dataset name -> its value without the frame axis.

Weights may come as float32 or as uint16 bit patterns of bfloat16 (see `to_bfloat16`). Rows over text tokens may be
shorter than the file's `tokens`; the writer leaves the rest at the fill value (role `pad`)."""


def describe_time(stamp: str) -> str:
    """Return a time of writing, as `created` has it, for people: `2026-01-01 12:00:00 UTC`."""
    return stamp.replace("T", " ").replace("+00:00", " UTC")
