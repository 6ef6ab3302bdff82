"""Conversion of pictures, prompt and state into model inputs, and of the model's actions into robot units.

Where the two public code bases differ, each is reproduced bit for bit: openpi resizes with Pillow on uint8 and
normalises in float64, lerobot resizes with torch on floats and normalises in float32. `Preprocessing` holds the
choices of one checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from capture.datasets.images import Pixels8
from capture.errors import UserError
from capture.policies.base import TokenTable
from capture.policies.letterbox import Picture, letterbox, resize_pil, resize_torch, to_pixels, to_uint8
from capture.policies.pi05.prompt import MAX_TOKENS, tokenise
from capture.policies.tokenizer import Tokenizer

Floats = npt.NDArray[np.floating]

Resize = Literal["pil", "torch", "torch_0.4"]
NormaliserMode = Literal[
    "openpi_quantile", "openpi_mean_std", "quantile", "mean_std", "min_max", "quantile10", "identity"
]

NEEDED_STATISTICS: Final[dict[NormaliserMode, tuple[str, ...]]] = {
    "openpi_quantile": ("q01", "q99"),
    "openpi_mean_std": ("mean", "std"),
    "quantile": ("q01", "q99"),
    "mean_std": ("mean", "std"),
    "min_max": ("min", "max"),
    "quantile10": ("q10", "q90"),
    "identity": (),
}
"""Mode -> names of the statistics that it reads, offset or lower bound first."""


_PADDED: Final = {32: 31, 14: 8}
"""Length to which states and actions are zero-padded (the model's, that of two arms) -> most robot dimensions in it."""


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Normalisation of states or actions to the model's range and back, in the arithmetic of the training code.

    `openpi_*` follow openpi's `transforms.Normalize` and `Unnormalize` (statistics in float64, 1e-6 in the
    denominator, nothing clipped), the others lerobot's `normalize_processor` (float32; a denominator of 0 becomes
    1e-8). `unnormalise` leaves dimensions beyond the statistics unchanged. Raises UserError for statistics that are
    missing, not finite, or of different lengths.
    """

    mode: NormaliserMode
    stats: Mapping[str, npt.NDArray[np.generic]]
    """Name (`q01`, `mean`, ...) to a vector of one number per dimension."""

    def __post_init__(self) -> None:
        lengths = set()
        for name in NEEDED_STATISTICS[self.mode]:
            if name not in self.stats:
                raise UserError(
                    f"the normalisation statistics have no {name!r}, which {self.mode} normalisation needs; give the "
                    "file that belongs to the checkpoint with --norm-stats"
                )
            values = np.asarray(self.stats[name])
            if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
                raise UserError(f"the normalisation statistic {name!r} is not a plain list of finite numbers")
            lengths.add(values.size)
        if len(lengths) > 1:
            raise UserError(f"the normalisation statistics differ in length: {sorted(lengths)}")

    @property
    def dims(self) -> int | None:
        """Number of dimensions of the statistics; None if any number is accepted (identity)."""
        needed = NEEDED_STATISTICS[self.mode]
        return len(self.stats[needed[0]]) if needed else None

    @property
    def filled_dims(self) -> int | None:
        """Number of dimensions without padding: those at the end whose statistics are all 0, in a padded length.

        A robot's own last number may be 0 throughout too, so that other lengths are taken as they are.
        """
        if self.dims is None:
            return None
        needed = [np.asarray(self.stats[name]) for name in NEEDED_STATISTICS[self.mode]]
        last = np.flatnonzero(np.stack(needed).any(axis=0))
        filled = int(last[-1]) + 1 if last.size else self.dims
        return filled if filled <= _PADDED.get(self.dims, 0) else self.dims

    def _columns(self, count: int) -> tuple[Floats, ...]:
        dtype = np.float64 if self.mode.startswith("openpi") else np.float32
        return tuple(np.asarray(self.stats[name])[:count].astype(dtype) for name in NEEDED_STATISTICS[self.mode])

    def normalise(self, values: npt.ArrayLike) -> Floats:
        """Convert robot units to the model's range, over the last axis; float64 for openpi, float32 for lerobot.

        Raises UserError for more values than the statistics have.
        """
        x = np.asarray(values)
        if self.mode == "identity":
            return x.astype(np.float32)
        if self.dims is not None and x.shape[-1] > self.dims:
            raise UserError(f"{x.shape[-1]} values were given, but the normalisation statistics have {self.dims}")
        low, high = self._columns(x.shape[-1])
        if self.mode == "openpi_quantile":
            return (x - low) / (high - low + 1e-6) * 2.0 - 1.0
        if self.mode == "openpi_mean_std":
            return (x - low) / (high + 1e-6)
        x = x.astype(np.float32)
        if self.mode == "mean_std":
            return (x - low) / (high + np.float32(1e-8))
        return 2.0 * (x - low) / _not_zero(high - low) - 1.0

    def unnormalise(self, values: npt.ArrayLike) -> Floats:
        """Convert the model's range to robot units, over the last axis; float64 for openpi, float32 for lerobot."""
        y = np.asarray(values)
        if self.mode == "identity":
            return y.astype(np.float32)
        low, high = self._columns(y.shape[-1])
        # openpi computes the first sum in the dtype of the model's output and converts to float64 only afterwards.
        with_statistics, without_statistics = y[..., : low.size], y[..., low.size :]
        if self.mode == "openpi_quantile":
            with_statistics = (with_statistics + 1.0) / 2.0 * (high - low + 1e-6) + low
        elif self.mode == "openpi_mean_std":
            with_statistics = with_statistics * (high + 1e-6) + low
        else:
            with_statistics = with_statistics.astype(np.float32)
            if self.mode == "mean_std":
                with_statistics = with_statistics * high + low
            elif self.mode == "min_max":
                with_statistics = (with_statistics + 1.0) / 2.0 * _not_zero(high - low) + low
            else:
                with_statistics = (with_statistics + 1.0) * _not_zero(high - low) / 2.0 + low
        return np.concatenate([with_statistics, without_statistics.astype(with_statistics.dtype)], axis=-1)


def _not_zero(span: Floats) -> Floats:
    """Replace a span of exactly 0 by 1e-8, as lerobot does."""
    return np.where(span == 0, np.float32(1e-8), span)


@dataclass(frozen=True)
class Preprocessing:
    """Settings of one checkpoint's pre- and postprocessing, and the conversions that follow from them."""

    resize: Resize
    slots: tuple[str, ...]
    """Camera names in the order of the model's picture slots, such as ("exterior", "wrist")."""
    state_in_prompt: bool
    pad_state_to: int | None
    """Length to which the normalised state is zero-padded before it is put in the prompt (32 in lerobot 0.4)."""
    state: Normaliser | None
    action: Normaliser | None
    robot_dim: int
    """Number of leading action dimensions that go to the robot."""
    relative: tuple[bool, ...] = ()
    """Which leading action dimensions are predicted relative to the state, which is added back; () for none."""
    max_tokens: int = MAX_TOKENS
    turned: bool | None = None
    """Whether camera pictures are rotated by 180 degrees first; None if this depends on how a source stores them."""
    time_grid: Literal["openpi", "lerobot"] = "openpi"
    state_dim: int | None = None
    """Required length of a state; None derives it from the statistics."""
    max_state_dim: int | None = None
    """Largest length of a state whose exact length is unknown; None for no limit."""
    has_robot_units: bool = True
    """False where actions stay in the model's units, or it is unknown how many of their dimensions are the robot's."""

    def picture(self, image: Pixels8, *, turned: bool = False) -> Picture:
        """Return the model's picture of a camera picture (H, W, 3) uint8 RGB. Raises UserError for other arrays.

        It is rotated by 180 degrees if `turned` is set, unless `self.turned` states otherwise.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UserError(
                f"a camera picture must be uint8 of shape (height, width, 3), not {image.dtype} of shape {image.shape}"
            )
        turned = turned if self.turned is None else self.turned
        box = letterbox(*image.shape[:2], turned=turned)
        upright = np.ascontiguousarray(image[::-1, ::-1]) if turned else image
        if self.resize == "pil":
            shown = resize_pil(upright)
            return Picture(shown, to_pixels(shown), box)
        pixels = resize_torch(upright, bars=-3.0 if self.resize == "torch_0.4" else -1.0)
        return Picture(to_uint8(pixels), pixels, box)

    def prompt(self, prompt: str, state: npt.ArrayLike | None, tokenizer: Tokenizer) -> TokenTable:
        """Return the tokens of a task and a state in robot units.

        Tokens past `max_tokens` are cut off on the right and counted in `dropped`, so that the caller can warn.
        Raises UserError for a missing state, one of the wrong length, or one that is not finite.
        """
        values = None if state is None else self.check_state(state)
        if not self.state_in_prompt:
            return tokenise(prompt, None, tokenizer, max_tokens=self.max_tokens)
        if values is None:
            raise UserError(
                "this policy reads the robot's state in its prompt, but none was given; give it with --state beside "
                "pictures, or as part of the episode"
            )
        normalised = self.state.normalise(values) if self.state else values
        # Padded after normalisation, so that the zeros are the middle of the range, bin 128.
        if self.pad_state_to is not None and normalised.size < self.pad_state_to:
            normalised = np.pad(normalised, (0, self.pad_state_to - normalised.size))
        size = len(self.robot_state(values))
        return tokenise(prompt, normalised, tokenizer, max_tokens=self.max_tokens, state_size=size)

    def robot_state(self, state: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the numbers of a state that are the robot's, without zeros that pad it to the statistics' length."""
        lengths = self.state_lengths
        if len(lengths) < 2 or state.size != lengths[-1] or state[lengths[0] :].any():
            return state
        return state[: lengths[0]]

    def check_state(self, state: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the state in robot units as a float64 vector.

        Raises UserError for a wrong length and for values that are not finite float32 numbers.
        """
        try:
            values = np.asarray(state, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UserError("the state is not a list of numbers") from error
        # The results file stores float32; NaN fails the comparison too.
        if values.ndim != 1 or not (np.abs(values) <= np.finfo(np.float32).max).all():
            shown = np.array2string(values, threshold=8)
            raise UserError(f"the state must be one list of finite float32 numbers, not {shown}")
        lengths = self.state_lengths
        if lengths and values.size not in lengths:
            expected = " or ".join(str(length) for length in lengths)
            raise UserError(f"the state has {values.size} numbers, but this policy was trained with {expected}")
        if self.max_state_dim is not None and values.size > self.max_state_dim:
            raise UserError(f"the state has {values.size} numbers, but this policy takes at most {self.max_state_dim}")
        if values.size < self.relative_dims:
            raise UserError(
                f"the state has {values.size} numbers, but the first {self.relative_dims} are needed to turn relative "
                "actions into positions"
            )
        return values

    @property
    def relative_dims(self) -> int:
        """Number of leading numbers of the state that relative actions are added to."""
        return max((dim + 1 for dim, is_relative in enumerate(self.relative) if is_relative), default=0)

    @property
    def state_lengths(self) -> tuple[int, ...]:
        """Accepted lengths of a state; empty if they are unknown.

        Some statistics are zero-padded, to the model's 32 dimensions or another robot's 14; the length without the
        padding is then accepted too.
        """
        if self.state_dim is not None:
            return (self.state_dim,)
        if self.state is None or self.state.dims is None:
            return ()
        return tuple(sorted({self.state.filled_dims or self.state.dims, self.state.dims}))

    def actions(self, model_actions: npt.NDArray[np.float32], state: npt.ArrayLike | None) -> npt.NDArray[np.float32]:
        """Return robot actions (H, robot_dim) float32 for the model's (H, 32) float32 and the state in robot units.

        Raises UserError where the state is needed (`relative`) and is missing or too short.
        """
        chosen: Floats = model_actions[:, : self.robot_dim]
        if self.action is not None:
            chosen = self.action.unnormalise(chosen)
        if count := self.relative_dims:
            if state is None:
                raise UserError("this policy's actions are relative to the robot's state; give it with --state")
            chosen = chosen.copy()
            chosen[:, :count] += np.where(self.relative[:count], self.check_state(state)[:count], 0.0)
        return chosen.astype(np.float32)
