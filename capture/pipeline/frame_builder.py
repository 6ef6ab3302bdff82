"""Build frames of the results file from a recorded call of a policy.

Three stages, so that a GPU never waits for the host: `compute_datasets` computes the large datasets of the whole batch
on the policy's device, the caller copies them to the host as it likes, and `split_frames` splits them by frame and adds
what was on the host already. `build_frames` does all three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.pipeline.frame_slicing import Arrays, BatchRow, slice_frame
from capture.policies.attention_hooks import Recording
from capture.policies.base import CallRequest, Layout, Prepared, RecordedCall, upload
from capture.policies.process_settings import multiply_exactly
from capture.policies.region_scores import ScoreTensors, list_words, score_actions, score_tensors, score_text
from capture.results import schema, scores_schema
from capture.results.word_groups import word_numbers

ROW_SUM: Final = "row sum"
MASKED_WEIGHT: Final = "masked weight"
"""Keys of `compute_datasets` beside the datasets: (B,) float32 each, see `WeightErrors`."""
SUMMARIES: Final = frozenset((schema.TEXT_MASS, schema.ACTION_MASS, schema.TEXT_ENTROPY, schema.ACTION_ENTROPY))


@dataclass(frozen=True)
class Kept:
    """What is kept of recorded calls."""

    weights: torch.dtype | None = None
    """Number type of attention weights; None for the policy's own."""
    maps: bool = True
    """Whether any frame keeps its maps and value norms."""
    scores: bool = False
    """Whether words and regions are scored."""
    packs_summaries: bool = False
    """Whether masses and entropies are stored as scores are, not as float32."""

    @classmethod
    def choose(cls, weights: torch.dtype | None, maps_every: int, *, has_scores: bool) -> Kept:
        """Return what files with these `maps_every` and `has_scores` of `schema.Sizes` keep."""
        has_maps = maps_every != scores_schema.NO_MAPS
        return cls(weights, has_maps, has_scores, maps_every != scores_schema.ALL_MAPS)

    def select(self, datasets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what is kept of datasets: without maps those of a graph, which computes them for every batch."""
        return {name: values for name, values in datasets.items() if self.maps or name not in schema.OF_MAPS}

    def cast(self, name: str, values: Tensor) -> Tensor:
        """Return the values of a dataset in the number type in which they are stored, if they are summaries."""
        if name.startswith("scores/") or (self.packs_summaries and name in SUMMARIES):
            return values.to(torch.float16 if self.weights == torch.bfloat16 else torch.float32)
        return values


@dataclass(frozen=True)
class WeightErrors:
    """Deviations of the recorded weights of a frame from valid attention."""

    row_sum: float
    """Largest |sum of a row - 1|; rounding to bfloat16 causes up to 2e-3."""
    masked_weight: float
    """Largest weight on a masked key; 0 if every key is valid."""


@dataclass(frozen=True)
class KeyGroups:
    """Group of each key of a row, in the order [camera 0 patches, ..., text, state tokens, action tokens].

    For one observation, or for a batch: its tensors and the weights then have a leading axis B.
    """

    group: Tensor
    """(keys,) or (B, keys) int64, index into `schema.mass_groups`."""
    picture: Tensor
    """(keys,) or (B, keys) bool: patches that show part of a picture, so not those wholly in letterbox bars."""
    groups: int

    def first(self, count: int) -> KeyGroups:
        """Return the groups of the first `count` keys."""
        return KeyGroups(self.group[..., :count], self.picture[..., :count], self.groups)


def key_groups(
    bars: Sequence[npt.NDArray[np.bool_]], roles: npt.NDArray[np.int32], actions: int, state_tokens: int = 0
) -> KeyGroups:
    """Return the groups of one observation's keys.

    `bars`: (rows, cols) bool a camera, True for patches wholly in the letterbox bars; `roles`: (T,) int32 of the text
    tokens; `actions`, `state_tokens`: numbers of action tokens and of state tokens before them.
    """
    names = schema.mass_groups([str(camera) for camera in range(len(bars))])
    index_by_name = {name: number for number, name in enumerate(names)}
    parts: list[npt.NDArray[np.int64]] = [
        np.where(bar, 2 * camera + 1, 2 * camera).ravel() for camera, bar in enumerate(bars)
    ]
    by_role = np.array([index_by_name.get(role, -1) for role in schema.ROLES])
    parts += [by_role[roles], np.full(state_tokens, index_by_name["state"]), np.full(actions, index_by_name["action"])]
    group = np.concatenate(parts)
    picture = (group < 2 * len(bars)) & (group % 2 == 0)
    return KeyGroups(torch.from_numpy(group), torch.from_numpy(picture), len(names))


def stack_key_groups(keys: Sequence[KeyGroups]) -> KeyGroups:
    """Stack the key groups of observations with equally many keys into a batch, (B, keys)."""
    group, picture = torch.stack([key.group for key in keys]), torch.stack([key.picture for key in keys])
    return KeyGroups(group, picture, keys[0].groups)


@dataclass(frozen=True)
class TokenMasks:
    """Padding and key groups of a call's tokens, on the host or on the policy's device."""

    own: Tensor
    """(B, T) bool: False on padding."""
    keys: KeyGroups
    """Groups of the keys; those of padding are arbitrary, since its weights are 0."""
    padded: bool
    """Whether any row has padding."""
    scores: ScoreTensors | None = None
    """Words and regions to be scored, if any."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors."""
        scores = () if self.scores is None else self.scores.tensors
        return self.own, self.keys.group, self.keys.picture, *scores

    def each(self, change: Callable[[Tensor], Tensor]) -> TokenMasks:
        """Return the same masks with every tensor changed."""
        keys = KeyGroups(change(self.keys.group), change(self.keys.picture), self.keys.groups)
        return TokenMasks(
            change(self.own), keys, self.padded, None if self.scores is None else self.scores.each(change)
        )


def token_masks(
    prepared: Sequence[Prepared], actions: int, state_tokens: int = 0, *, scores: bool = False
) -> TokenMasks:
    """Return the masks of a call of these observations, on the host; `scores`: with words and regions."""
    lengths = torch.tensor([len(item.tokens) for item in prepared])  # (B,)
    longest = int(lengths.max())
    groups_of_rows = []
    for item in prepared:
        bars = [picture.letterbox.bars for picture in item.pictures.values()]
        roles = np.full(longest, schema.ROLES.index("newline"), np.int32)
        roles[: len(item.tokens)] = item.tokens.role
        groups_of_rows.append(key_groups(bars, roles, actions, state_tokens))
    is_token = torch.arange(longest) < lengths[:, None]  # (B, T)
    return TokenMasks(
        is_token,
        stack_key_groups(groups_of_rows),
        int(lengths.min()) < longest,
        score_tensors(prepared) if scores else None,
    )


def build_frames(call: RecordedCall, kept: Kept = Kept()) -> list[tuple[schema.Frame, WeightErrors]]:
    """Return all datasets of each frame of the call, and the errors of its weights."""
    return split_frames(call, {name: value.cpu() for name, value in compute_datasets(call, kept).items()})


@torch.no_grad()
def compute_datasets(call: RecordedCall, keep: Kept = Kept(), masks: TokenMasks | None = None) -> dict[str, Tensor]:
    """Compute the datasets that come from the call's tensors: contiguous tensors (B, ...) on the policy's device.

    `masks`: of the call, if on the device already. Axes of text and words are as long as the longest prompt of the
    batch, that of regions as the most regions of a frame. Does not wait for the device.
    """
    layout, recording = call.layout, call.recording
    device, dtype = call.path.device, keep.weights or call.recording.prefix.dtype
    horizon = call.path.shape[2]
    state_tokens = recording.suffix.shape[-1] - layout.text.stop - horizon
    if masks is None:
        has_regions = any(item.coverage is not None for item in call.prepared)
        masks = token_masks(call.prepared, horizon, state_tokens, scores=keep.scores or has_regions)
        masks = masks.each(lambda array: upload(array, device))
    is_token = masks.own
    batch, longest = is_token.shape

    text_rows = recording.prefix.transpose(2, 3)  # (B, L, rows, N, K): all rows, or the text's alone
    if text_rows.shape[2] == text_rows.shape[4]:
        text_rows = text_rows[:, :, layout.text]  # (B, L, T, N, K)
    action_rows = recording.suffix.permute(0, 1, 4, 2, 3, 5)  # (B, L, H, S, N, K + state tokens + H)
    datasets: dict[str, Tensor] = {}
    if keep.maps:
        datasets |= _maps(recording, text_rows, action_rows, layout, dtype, state_tokens)
    if masks.scores is not None:  # of the weights as they are stored, or would be
        text = _layers(datasets.get(schema.TEXT_TO_IMAGE), text_rows, layout, dtype)
        actions = _layers(datasets.get(schema.ACTION_TO_IMAGE), action_rows, layout, dtype)
        datasets |= score_text(text, masks.scores) | score_actions(actions, masks.scores)

    row_errors = torch.zeros(batch, device=device)  # (B,)
    masked_weights = torch.zeros(batch, device=device)  # (B,)
    for rows, name_mass, name_entropy, queries_own in (
        (text_rows, schema.TEXT_MASS, schema.TEXT_ENTROPY, is_token[:, None, :, None]),
        (action_rows, schema.ACTION_MASS, schema.ACTION_ENTROPY, None),
    ):
        keys = masks.keys.first(rows.shape[-1])
        weights = rows.float()  # (B, L, queries, ..., N, keys)
        sums = group_mass(weights, keys)  # (B, L, queries, ..., N, groups)
        datasets[name_mass], datasets[name_entropy] = sums, picture_entropy(weights, keys)
        deviation = (sums.sum(-1) - 1).abs()  # (B, L, queries, ..., N)
        if queries_own is not None:
            deviation = deviation.masked_fill(~queries_own, 0)
        row_errors = torch.maximum(row_errors, deviation.flatten(1).amax(1))
        if masks.padded:
            shape = (batch, *[1] * (rows.ndim - 2), longest)
            masked = weights[..., layout.text].masked_fill(is_token.view(shape), 0).amax(-1)  # (B, L, queries, ..., N)
            if queries_own is not None:
                masked = masked.masked_fill(~queries_own, 0)
            masked_weights = torch.maximum(masked_weights, masked.flatten(1).amax(1))
    datasets |= {ROW_SUM: row_errors, MASKED_WEIGHT: masked_weights}

    datasets = {name: keep.cast(name, value) for name, value in datasets.items()}
    if keep.maps:
        for norms, name_image, name_text in (  # norms (B, L, N, K)
            (call.norms.language, schema.TEXT_VALUE_NORM_IMAGE, schema.TEXT_VALUE_NORM_TEXT),
            (call.norms.expert, schema.ACTION_VALUE_NORM_IMAGE, schema.ACTION_VALUE_NORM_TEXT),
        ):
            datasets[name_image], datasets[name_text] = _patches(norms, layout), norms[..., layout.text]
        datasets[schema.ACTION_VALUE_NORM_ACTION] = call.norms.action
    datasets[schema.ACTION_X] = call.path.transpose(0, 1)  # (B, steps + 1, H, A)
    datasets[schema.ACTION_TIME] = call.time.expand(batch, -1)  # (B, steps)
    positions = layout.positions.int()  # (B, K)
    datasets[schema.IMAGE_POSITION] = _patches(positions, layout)  # (B, C, rows, cols)
    datasets[schema.TEXT_POSITION] = positions[:, layout.text]  # (B, T)
    return {name: value.contiguous() for name, value in datasets.items()}


@torch.no_grad()
def add_scores(datasets: dict[str, Tensor], prepared: Sequence[Prepared], keep: Kept) -> dict[str, Tensor]:
    """Return the datasets of a call, which have its maps, with the scores of its words and regions in addition.

    They are those that `compute_datasets` returns where the regions are known before the call. Does not wait for the
    device.
    """
    text, actions = datasets[schema.TEXT_TO_IMAGE], datasets[schema.ACTION_TO_IMAGE]
    scores = score_tensors(prepared).each(lambda array: upload(array, text.device))
    found = score_text(text.unbind(1), scores) | score_actions(actions.unbind(1), scores)
    return datasets | {name: keep.cast(name, values).contiguous() for name, values in found.items()}


def _maps(
    recording: Recording, text_rows: Tensor, action_rows: Tensor, layout: Layout, dtype: torch.dtype, state_tokens: int
) -> dict[str, Tensor]:
    """Return the datasets of attention weights; rows (B, L, queries, ..., N, keys)."""
    datasets: dict[str, Tensor] = {}
    datasets[schema.TEXT_TO_IMAGE], datasets[schema.TEXT_TO_TEXT], _ = _blocks(text_rows, layout, dtype)
    images, text, actions = _blocks(action_rows, layout, dtype)
    datasets |= {
        schema.ACTION_TO_IMAGE: images,
        schema.ACTION_TO_TEXT: text,
        schema.ACTION_TO_ACTION: actions[..., state_tokens:],
    }
    if recording.prefix.shape[-2] == recording.prefix.shape[-1]:
        queries = torch.stack([recording.prefix[..., block, :] for block in layout.patches], dim=3)
        queries = queries.unflatten(4, layout.grid)  # (B, L, N, C, rows, cols, K)
        datasets[schema.IMAGE_TO_IMAGE], datasets[schema.IMAGE_TO_TEXT], _ = _blocks(queries, layout, dtype)
    return datasets


def group_mass(weights: Tensor, keys: KeyGroups) -> Tensor:
    """Sum weights by group: (..., keys) float32 to (..., groups) float32."""
    member = torch.nn.functional.one_hot(keys.group, keys.groups).float()  # (keys, groups) or (B, keys, groups)
    if member.ndim == 2:
        return multiply_exactly(weights, member)  # (..., groups)
    rows = multiply_exactly(weights.flatten(1, -2), member)  # (B, rows, groups)
    by_group: Tensor = rows.unflatten(1, weights.shape[1:-1])  # (B, ..., groups)
    return by_group


def picture_entropy(weights: Tensor, keys: KeyGroups) -> Tensor:
    """Return the entropy in nats over the picture patches, renormalised to sum to 1: (..., keys) float32 to (...).

    It is 0 if all weight on pictures is on one patch, log(number of patches) if it is uniform, and
    `schema.UNDEFINED_ENTROPY` (NaN) for a row without weight on any picture.
    """
    shape = (*keys.picture.shape[:-1], *[1] * (weights.ndim - keys.picture.ndim), -1)
    picture = weights.masked_fill(~keys.picture.view(shape), 0)  # (..., keys)
    total = picture.sum(-1)  # (...)
    spread = torch.special.entr(picture).sum(-1)  # (...), -sum of w log w
    safe = total.clamp_min(torch.finfo(torch.float32).tiny)
    nats = (spread / safe + safe.log()).clamp_min(0.0)  # (...)
    return torch.where(total > 0, nats, schema.UNDEFINED_ENTROPY)


def split_frames(call: CallRequest, datasets: Mapping[str, Tensor]) -> list[tuple[schema.Frame, WeightErrors]]:
    """Split a call into frames, given its datasets on the host. Large arrays are not copied."""
    arrays, errors = to_host_arrays(datasets)
    return [
        (slice_frame(arrays, BatchRow(0, row, frame_metadata(call, arrays, row, error))), error)
        for row, error in enumerate(errors)
    ]


def to_host_arrays(datasets: Mapping[str, Tensor]) -> tuple[Arrays, list[WeightErrors]]:
    """Return what `compute_datasets` computed as numpy arrays (B, ...), and the errors of each frame."""
    arrays = {name: _array(value) for name, value in datasets.items()}
    deviation, masked = arrays.pop(ROW_SUM).tolist(), arrays.pop(MASKED_WEIGHT).tolist()
    return arrays, [WeightErrors(*pair) for pair in zip(deviation, masked, strict=True)]


def frame_metadata(request: CallRequest, arrays: Arrays, row: int, errors: WeightErrors) -> schema.Frame:
    """Return the datasets of frame `row` of a call that are not among the call's arrays."""
    prepared = request.prepared[row]
    table, observation = prepared.tokens, prepared.observation
    actions = request.to_robot(arrays[schema.ACTION_X][row, -1], observation.state)
    state = np.zeros(0) if observation.state is None else observation.state
    frame: schema.Frame = {
        schema.FRAMES_INDEX: observation.index,
        schema.FRAMES_TIME: observation.time,
        schema.FRAMES_EPISODE: observation.episode,
        schema.FRAMES_PROMPT: observation.prompt,
        schema.FRAMES_TEXT: table.text,
        schema.FRAMES_STATE: state.astype(np.float32),
        schema.FRAMES_SEED: request.seeds[row],
        schema.TEXT_ID: table.ids,
        schema.TEXT_PIECE: np.array(table.pieces, dtype=object),
        schema.TEXT_START: table.start,
        schema.TEXT_STOP: table.stop,
        schema.TEXT_ROLE: table.role,
        schema.TEXT_WORD: table.word,
        schema.TEXT_STATE_INDEX: table.state_index,
        schema.ACTION_PREDICTED: actions,
        schema.ACTION_TRUTH: _pad_true_actions(observation.true_actions, actions.shape),
    }
    if scores_schema.WORD_ENTROPY in arrays:
        frame[scores_schema.ROW_SUM_ERROR] = errors.row_sum
        frame[scores_schema.WORD] = word_numbers(list_words(prepared), len(table))
        if prepared.coverage is not None:
            frame[scores_schema.COVERAGE] = prepared.coverage
    for camera, picture in prepared.pictures.items():
        frame[schema.source_name(camera)] = observation.pictures[camera]
        frame[schema.model_picture_name(camera)] = picture.model_u8
        frame[schema.to_model_name(camera)] = picture.letterbox.to_model
    return frame


def _blocks(rows: Tensor, layout: Layout, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Split (..., keys) into the pictures' (..., C, rows, cols), the text's (..., T) and the suffix's weights."""
    return (
        _patches(rows, layout).to(dtype),
        rows[..., layout.text].to(dtype),
        rows[..., layout.text.stop :].to(dtype),
    )


def _layers(images: Tensor | None, rows: Tensor, layout: Layout, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield the maps of each layer, (B, queries, ..., N, C, rows, cols): of `images`, else cut out of `rows`."""
    for layer in range(rows.shape[1]):
        yield _patches(rows[:, layer], layout).to(dtype) if images is None else images[:, layer]


def _patches(rows: Tensor, layout: Layout) -> Tensor:
    grids = [rows[..., block].unflatten(-1, layout.grid) for block in layout.patches]
    return torch.stack(grids, dim=-3)  # (..., C, rows, cols)


def _array(values: Tensor) -> npt.NDArray[Any]:
    """Return the tensor's memory as a numpy array, bfloat16 as uint16 bits."""
    if values.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    array: npt.NDArray[Any] = values.numpy()
    return array


def _pad_true_actions(actions: npt.NDArray[np.float32] | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the true actions, cut or padded with NaN to the predicted chunk's shape."""
    truth = np.full(shape, np.nan, np.float32)
    if actions is not None:
        rows, dims = min(len(actions), shape[0]), min(actions.shape[1], shape[1])
        truth[:rows, :dims] = actions[:rows, :dims]
    return truth
