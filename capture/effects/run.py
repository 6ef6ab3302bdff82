"""Measure effects over the frames of a results file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from capture.effects.agreement import block_weights, rank_correlations, removal_curves
from capture.effects.effect_map import EffectMap, map_datasets, measure_blocks, measure_words
from capture.effects.effects_file import Frame
from capture.effects.engine import EffectEngine
from capture.effects.frame_calls import EffectsRequest, FrameCalls, PreparingPolicy, Progress
from capture.effects.gradient_maps import gradient_datasets
from capture.effects.measures import count_smaller, noise_floor, root_mean_square
from capture.effects.random_masks import measure_masks
from capture.effects.results_frames import ResultsFrames, StoredFrame
from capture.effects.targets import Target, draw_controls, find_word, replace_word
from capture.errors import UserError
from capture.number_ranges import format_numbers
from capture.policies.base import Prepared
from capture.results.effects_schema import ACTION_LIMITS, STRICTEST

HEAD_PHASES: Final[dict[str, Literal["prefix", "suffix"]]] = {"actions": "suffix", "words": "prefix"}
"""Stack whose heads are silenced -> the phase in which it runs."""


def check_words(words: Sequence[str], frames: ResultsFrames, chosen: Sequence[int]) -> None:
    """Raise UserError where a word is not in the prompts of all chosen frames; it names the frames that have it."""
    for word in words:
        frames_with_word = []
        for number in chosen:
            try:
                find_word(word, *frames.text(number))
            except UserError:
                continue
            frames_with_word.append(number)
        if not frames_with_word:
            raise UserError(f"no prompt of the chosen frames has {word!r}; the first is {frames.prompt(chosen[0])!r}")
        if len(frames_with_word) < len(chosen):
            raise UserError(
                f"{word!r} is in the prompts of {len(frames_with_word)} of {len(chosen)} frames; choose them with "
                f"--frames {format_numbers(frames_with_word, ',')}"
            )


def measure_frame(
    policy: PreparingPolicy, frames: ResultsFrames, number: int, request: EffectsRequest, progress: Progress
) -> Frame:
    """Return all effects of one frame, by the names of the effects file's datasets.

    Raises UserError where the repeated call does not give the stored actions, or a word is not in the prompt.
    """
    calls, datasets = _start_calls(policy, frames, number, request, progress)
    if targets := _list_targets(calls):
        datasets |= _measure_targets(calls, targets)
    for stack in request.heads:
        datasets |= _silence_heads(calls, stack)
    effects = None
    if request.map_block:
        effects, map_and_agreement = _measure_map(calls)
        datasets |= map_and_agreement
    if request.gradient:
        datasets |= gradient_datasets(calls, request.gradient, effects)
        progress.add(len(request.gradient))
    return datasets


def _start_calls(
    policy: PreparingPolicy, frames: ResultsFrames, number: int, request: EffectsRequest, progress: Progress
) -> tuple[FrameCalls, Frame]:
    """Repeat the call of a frame, and measure its noise floor; return its calls and the datasets of both.

    Raises UserError where the repeated call does not give the stored actions.
    """
    stored = frames.frame(number)
    prepared = prepare_stored(policy, stored, frames.cameras, number)
    engine = EffectEngine(
        policy, prepared, stored.noise, batch=request.batch, after_call=progress.add,
        other_pictures=_prepare_other_pictures(policy, frames, number, request),
    )  # fmt: skip
    if request.curves and not frames.has_maps(number):
        raise UserError(
            f"the attention maps of frame {number} were not kept (--keep), and --curves orders patches by them; name "
            "frames that have maps, or leave --curves out"
        )
    baseline = engine.baseline()  # (H, A)
    state = stored.observation.state
    robot = policy.to_robot(baseline, state)  # (H, dims)
    error = float(np.abs(robot - stored.predicted).max())
    limit = ACTION_LIMITS.get(str(frames.model.get("dtype")), STRICTEST)
    if not error <= limit:
        raise UserError(
            f"repeating frame {number} without a change gives other actions than the file holds (by {error:.2g}, limit "
            f"{limit:g}): effects would be of another call; use the file's checkpoint, --dtype and device"
        )
    dims = policy.sizes.robot_dim  # effects are measured on the dimensions that move the robot
    samples = engine.resample(_draw_noise(request.seeds, stored.noise.shape, number))  # (S, H, A)
    floor, floor_error, floor_of_action = noise_floor(samples[..., :dims])
    datasets: Frame = {
        "frames/number": np.array(number, np.int64), "frames/repeat_error": np.array(error, np.float32),
        "baseline/actions": baseline, "baseline/robot_actions": robot,
        "noise/actions": samples, "noise/floor": np.array(floor, np.float32),
        "noise/floor_error": np.array(floor_error, np.float32),
        "noise/floor_of_action": floor_of_action.astype(np.float32),
    }  # fmt: skip
    pictured = frames.pictured(number)
    return FrameCalls(policy, engine, frames, stored, number, request, baseline, floor, pictured), datasets


def _list_targets(calls: FrameCalls) -> list[Target]:
    """Return the regions, words and replacements of a frame.

    Raises UserError for a word that the prompt does not have, and a region to be covered that lies in letterbox bars.
    """
    request, stored = calls.request, calls.stored
    words = [find_word(word, stored.text, stored.start, stored.stop, stored.prompt_tokens) for word in request.words]
    replacements = [
        replace_word(find_word(word, *calls.frames.text(calls.number)), other, stored.observation.prompt)
        for word, other in request.replacements
    ]
    regions = [region.at_frame(calls.number) for region in request.regions]
    for region in regions:
        patches = region.patches
        if request.intervention.mode == "occlude" and patches is not None and not (patches & calls.pictured).any():
            raise UserError(
                f"the region {region.name!r} shows no picture in frame {calls.number}, only letterbox bars: there is "
                "nothing to cover"
            )
    return [*regions, *words, *replacements]


def _measure_map(calls: FrameCalls) -> tuple[EffectMap, Frame]:
    """Return the effects of blocks of patches, and the datasets of `map/`, `masks/`, `agreement/` and `curves/`."""
    datasets: Frame = {}
    if calls.request.masks:
        effects, datasets = measure_masks(calls)
    else:
        effects = measure_blocks(calls)
    datasets |= map_datasets(effects)
    if calls.request.intervention.mode == "knockout":  # words cannot be covered in a picture
        datasets |= measure_words(calls)
    rows = block_weights(calls, effects)
    datasets |= rank_correlations(rows, effects)
    if calls.request.curves:
        datasets |= removal_curves(calls, effects, rows)
    return effects, datasets


def _prepare_other_pictures(
    policy: PreparingPolicy, frames: ResultsFrames, number: int, request: EffectsRequest
) -> dict[str, Tensor]:
    """Return the pictures of the frame with which patches are covered; none where they are covered otherwise."""
    if request.other_frame is None:
        return {}
    if request.other_frame == number:
        raise UserError(f"frame {number} would be covered with its own pixels; leave it out with --frames")
    prepared = prepare_stored(policy, frames.frame(request.other_frame), frames.cameras, request.other_frame)
    return {camera: picture.pixels for camera, picture in prepared.pictures.items()}


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


def _draw_noise(seeds: int, shape: tuple[int, ...], number: int) -> npt.NDArray[np.float32]:
    """Return standard normal noise (seeds, H, A), the same for the same frame."""
    return np.random.default_rng([20_250, number]).standard_normal((seeds, *shape), np.float32)


def _measure_targets(calls: FrameCalls, targets: Sequence[Target]) -> Frame:
    """Return the datasets of `targets/` and `controls/`."""
    request, baseline = calls.request, calls.baseline
    pictured, dims, floor = calls.pictured, calls.dims, calls.floor
    actions = calls.actions(targets)  # (T, H, A)
    change = actions - baseline  # (T, H, A)
    robot = _to_robot(calls, actions)
    effects = root_mean_square(change[..., :dims])  # (T,)
    patches = np.zeros((len(targets), *pictured.shape), bool)
    tokens = np.zeros((len(targets), calls.frames.tokens), bool)
    control_patches = np.zeros((len(targets), request.controls, *pictured.shape), bool)
    control_effects = np.full((len(targets), request.controls), np.nan, np.float32)
    control_effects_of_action = np.full((*control_effects.shape, len(baseline)), np.nan, np.float32)
    control_changes = np.full((*control_effects.shape, *robot.shape[1:]), np.nan, np.float32)
    for index, target in enumerate(targets):
        tokens[index, list(target.tokens)] = True
        if target.patches is None:
            continue
        patches[index] = target.patches
        controls = draw_controls(target.patches, pictured, request.controls, seed=calls.number * 1_000 + index)
        if controls:
            control_targets = [Target(f"control of {target.name}", "region", mask) for mask in controls]
            control_change = calls.actions(control_targets) - baseline  # (n, H, A)
            count = len(controls)
            control_patches[index, :count] = controls
            control_effects[index, :count] = root_mean_square(control_change[..., :dims])
            control_effects_of_action[index, :count] = root_mean_square(control_change[..., :dims], (-1,))
            control_changes[index, :count] = _to_robot(calls, control_change + baseline)
    smaller = [count_smaller(effect, row) for effect, row in zip(effects, control_effects, strict=True)]
    return {
        "targets/patches": patches, "targets/tokens": tokens,
        "targets/change": change, "targets/robot_change": robot,
        "targets/effect": effects.astype(np.float32),
        "targets/effect_of_action": root_mean_square(change[..., :dims], (-1,)).astype(np.float32),
        "targets/multiple": (effects / floor if floor > 0 else np.full(len(effects), np.nan)).astype(np.float32),
        "controls/patches": control_patches, "controls/effect": control_effects,
        "controls/effect_of_action": control_effects_of_action, "controls/robot_change": control_changes,
        "controls/smaller": np.array([count for count, _ in smaller], np.int32),
        "controls/count": np.array([count for _, count in smaller], np.int32),
    }  # fmt: skip


def _to_robot(calls: FrameCalls, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return how far actions (n, H, A) in model units lie from the untouched call's in robot units: (n, H, dims)."""
    state = calls.stored.observation.state
    untouched = calls.policy.to_robot(calls.baseline, state)
    return np.stack([calls.policy.to_robot(row, state) - untouched for row in actions]).astype(np.float32)


def _silence_heads(calls: FrameCalls, stack: str) -> Frame:
    """Silence every head of a stack, one at a time; return the datasets of `heads/`."""
    sizes = calls.policy.sizes
    heads = [
        Target(f"layer {layer}, head {head}", "head", head=(layer, head))
        for layer in range(sizes.layers)
        for head in range(sizes.heads)
    ]
    changes = calls.changes(heads, replace(calls.request.intervention, head_phase=HEAD_PHASES[stack]))  # (n, H, dims)
    shape, name = (sizes.layers, sizes.heads), "text_effect" if stack == "words" else "effect"
    return {
        f"heads/{name}": root_mean_square(changes).reshape(shape).astype(np.float32),
        f"heads/{name}_of_action": root_mean_square(changes, (-1,)).reshape(*shape, -1).astype(np.float32),
    }
