"""Measure effects over the frames of a results file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from capture.effects.effects_file import Frame
from capture.effects.engine import EffectEngine, InterveningPolicy, Intervention
from capture.effects.measures import count_smaller, noise_floor, root_mean_square, spearman
from capture.effects.results_frames import ACTION_LIMITS, ResultsFrames, StoredFrame
from capture.effects.targets import Target, blocks, find_word, random_controls
from capture.errors import UserError
from capture.number_ranges import format_numbers
from capture.policies.base import Prepared


@dataclass(frozen=True)
class EffectsRequest:
    """What to measure on each frame."""

    how: Intervention
    regions: tuple[Target, ...] = ()
    words: tuple[str, ...] = ()
    heads: bool = False
    """Whether to silence every head, one at a time."""
    map_block: int | None = None
    """Side of the blocks of patches of an effect map; None for no map."""
    controls: int = 20
    seeds: int = 16
    batch: int = 16


class PreparingPolicy(InterveningPolicy, Protocol):
    """A policy that also prepares observations and returns robot actions."""

    def prepare(self, observation: Any) -> Prepared:
        """Make an observation ready for the model."""

    def to_robot(
        self, actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float32]:
        """Return robot actions (H, robot dims) of a result (H, A)."""


@dataclass
class Progress:
    """Number of interventions that were run, and a function that is told."""

    tell: Callable[[int], None] = lambda _: None
    done: int = field(default=0)

    def add(self, count: int) -> None:
        """Count finished interventions."""
        self.done += count
        self.tell(self.done)


def check_words(words: Sequence[str], frames: ResultsFrames, chosen: Sequence[int]) -> None:
    """Raise UserError where a word is not in the prompts of all chosen frames; it names the frames that have it."""
    for word in words:
        have = []
        for number in chosen:
            try:
                find_word(word, *frames.text(number))
            except UserError:
                continue
            have.append(number)
        if not have:
            raise UserError(f"no prompt of the chosen frames has {word!r}; the first is {frames.prompt(chosen[0])!r}")
        if len(have) < len(chosen):
            raise UserError(
                f"{word!r} is in the prompts of {len(have)} of {len(chosen)} frames; choose them with --frames "
                f"{format_numbers(have, ',')}"
            )


def count_interventions(request: EffectsRequest, frames: ResultsFrames, number: int, sizes: Any) -> int:
    """Return how many calls a frame takes at most, without those of the untouched policy."""
    count = request.seeds + len(request.words) + len(request.regions) * (1 + request.controls)
    if request.heads:
        count += sizes.layers * sizes.heads
    if request.map_block:
        count += len(blocks(frames.pictured(number), request.map_block))
    return count


def measure_frame(
    policy: PreparingPolicy, frames: ResultsFrames, number: int, request: EffectsRequest, progress: Progress
) -> Frame:
    """Return all effects of one frame, by the names of the effects file's datasets.

    Raises UserError where the repeated call does not give the stored actions, or a word is not in the prompt.
    """
    stored = frames.frame(number)
    prepared = prepare_stored(policy, stored, frames.cameras, number)
    engine = EffectEngine(policy, prepared, stored.noise, batch=request.batch, after_call=progress.add)
    baseline = engine.baseline()  # (H, A)
    state = stored.observation.state
    robot = policy.to_robot(baseline, state)  # (H, dims)
    error = float(np.abs(robot - stored.predicted).max())
    limit = ACTION_LIMITS.get(str(frames.model.get("dtype")), 1e-3)
    if not error <= limit:
        raise UserError(
            f"repeating frame {number} without a change gives other actions than the file holds (by {error:.2g}, limit "
            f"{limit:g}): effects would be of another call; use the file's checkpoint, --dtype and device"
        )
    dims = policy.sizes.robot_dim  # effects are measured on the dimensions that move the robot
    samples = engine.resample(_noises(request.seeds, stored.noise.shape, number))  # (S, H, A)
    floor, floor_error, floor_of_action = noise_floor(samples[..., :dims])
    found: Frame = {
        "frames/number": np.array(number, np.int64), "frames/repeat_error": np.array(error, np.float32),
        "baseline/actions": baseline, "baseline/robot_actions": robot,
        "noise/actions": samples, "noise/floor": np.array(floor, np.float32),
        "noise/floor_error": np.array(floor_error, np.float32),
        "noise/floor_of_action": floor_of_action.astype(np.float32),
    }  # fmt: skip
    words = [find_word(word, stored.text, stored.start, stored.stop, stored.prompt_tokens) for word in request.words]
    targets = [*request.regions, *words]
    pictured = frames.pictured(number)
    for region in request.regions:
        if request.how.mode == "occlude" and region.patches is not None and not (region.patches & pictured).any():
            raise UserError(
                f"the region {region.name!r} shows no picture in frame {number}, only letterbox bars: there is nothing "
                "to cover"
            )
    if targets:
        found |= _measure_targets(
            policy, engine, targets, request, baseline, state, floor, pictured, number, frames.tokens
        )
    if request.heads:
        sizes = policy.sizes
        heads = [
            Target(f"layer {layer}, head {head}", "head", head=(layer, head))
            for layer in range(sizes.layers)
            for head in range(sizes.heads)
        ]
        changed = engine.take_away(heads, request.how)[..., :dims] - baseline[:, :dims]
        effects = root_mean_square(changed).reshape(sizes.layers, sizes.heads)
        found["heads/effect"] = effects.astype(np.float32)
    if request.map_block:
        found |= _measure_map(engine, frames, number, request, baseline, dims, pictured)
    return found


def prepare_stored(policy: PreparingPolicy, stored: StoredFrame, cameras: Sequence[str], number: int) -> Prepared:
    """Return the stored observation made ready again. Raises UserError where the model would see something else."""
    prepared = policy.prepare(stored.observation)
    for camera in cameras:
        if not np.array_equal(prepared.pictures[camera].model_u8, stored.model_pictures[camera]):
            raise UserError(
                f"the {camera} picture of frame {number} would be prepared differently from the stored one; "
                "give the options of the capture (--turned, --cameras, --config)"
            )
    if not np.array_equal(prepared.tokens.ids, stored.tokens):
        raise UserError(
            f"the prompt of frame {number} would become other tokens than the stored ones; give the tokenizer, "
            "statistics and options of the capture"
        )
    return prepared


def _noises(seeds: int, shape: tuple[int, ...], number: int) -> npt.NDArray[np.float32]:
    """Return standard normal noise (seeds, H, A), the same for the same frame."""
    return np.random.default_rng([20_250, number]).standard_normal((seeds, *shape), np.float32)


def _measure_targets(
    policy: PreparingPolicy,
    engine: EffectEngine,
    targets: Sequence[Target],
    request: EffectsRequest,
    baseline: npt.NDArray[np.float32],
    state: npt.NDArray[np.float64] | None,
    floor: float,
    pictured: npt.NDArray[np.bool_],
    number: int,
    text_tokens: int,
) -> Frame:
    """Return the datasets of `targets/` and `controls/`; `text_tokens` is the length of the file's axis of text."""
    dims = policy.sizes.robot_dim
    without = engine.take_away(targets, request.how)  # (T, H, A)
    change = without - baseline  # (T, H, A)
    robot = np.stack([policy.to_robot(row, state) for row in without]) - policy.to_robot(baseline, state)
    effects = root_mean_square(change[..., :dims])  # (T,)
    patches = np.zeros((len(targets), *pictured.shape), bool)
    tokens = np.zeros((len(targets), text_tokens), bool)
    control_patches = np.zeros((len(targets), request.controls, *pictured.shape), bool)
    control_effects = np.full((len(targets), request.controls), np.nan, np.float32)
    for place, target in enumerate(targets):
        tokens[place, list(target.tokens)] = True
        if target.patches is None:
            continue
        patches[place] = target.patches
        controls = random_controls(target.patches, pictured, request.controls, seed=number * 1_000 + place)
        if controls:
            random = [Target(f"control of {target.name}", "region", mask) for mask in controls]
            changed = engine.take_away(random, request.how)[..., :dims] - baseline[:, :dims]
            control_patches[place, : len(controls)] = controls
            control_effects[place, : len(controls)] = root_mean_square(changed)
    smaller = [count_smaller(effect, row) for effect, row in zip(effects, control_effects, strict=True)]
    return {
        "targets/patches": patches, "targets/tokens": tokens,
        "targets/change": change, "targets/robot_change": robot.astype(np.float32),
        "targets/effect": effects.astype(np.float32),
        "targets/effect_of_action": root_mean_square(change[..., :dims], (-1,)).astype(np.float32),
        "targets/multiple": (effects / floor if floor > 0 else np.full(len(effects), np.nan)).astype(np.float32),
        "controls/patches": control_patches, "controls/effect": control_effects,
        "controls/smaller": np.array([count for count, _ in smaller], np.int32),
        "controls/count": np.array([count for _, count in smaller], np.int32),
    }  # fmt: skip


def _measure_map(
    engine: EffectEngine,
    frames: ResultsFrames,
    number: int,
    request: EffectsRequest,
    baseline: npt.NDArray[np.float32],
    dims: int,
    pictured: npt.NDArray[np.bool_],
) -> Frame:
    """Return the datasets of `map/` and `agreement/`."""
    assert request.map_block
    places = blocks(pictured, request.map_block)
    changed = engine.take_away([target for _, target in places], request.how)[..., :dims] - baseline[:, :dims]
    of_action = root_mean_square(changed, (-1,))  # (n, H)
    of_chunk = root_mean_square(changed)  # (n,)
    horizon = len(baseline)
    by_action = np.full((horizon, *pictured.shape), np.nan, np.float32)
    by_chunk = np.full(pictured.shape, np.nan, np.float32)
    for (_, target), action, chunk in zip(places, of_action, of_chunk, strict=True):
        block = target.patches & pictured  # type: ignore[operator]
        by_action[:, block] = action[:, None]
        by_chunk[block] = chunk
    weights = np.stack([frames.attention_of_action(number, action) for action in range(horizon)])  # (H, L, S, N, ...)
    shown = np.stack([(target.patches & pictured)[pictured] for _, target in places])  # type: ignore[operator]
    means = shown / shown.sum(axis=1, keepdims=True)  # (n, patches)
    rows = weights[..., pictured] @ means.T  # (H, layers, steps, heads, n): mean weight of each block
    agreement = np.stack([spearman(rows[action], of_action[:, action]) for action in range(horizon)])
    return {
        "map/effect": by_action, "map/effect_of_chunk": by_chunk,
        "agreement/spearman": agreement.astype(np.float32),
        "agreement/spearman_of_chunk": spearman(rows.mean(0), of_chunk).astype(np.float32),
    }  # fmt: skip
