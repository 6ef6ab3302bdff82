"""From a recorded call of a policy to frames of the results file: cut, reordered and summed up.

Three stages, so that a GPU does what it does well and never waits: `gather` computes every large dataset of the whole
batch on the policy's device, the caller brings them to the host as it likes, and `frames` cuts them frame by frame and
adds what was on the host anyway. `assemble` does all three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.pipeline import summaries
from capture.pipeline.frame_slicing import Arrays, Row, frame_of
from capture.policies.pi05.config import exact_float32
from capture.policies.pi05.policy import Asked, Call, Layout, Prepared, uploaded
from capture.results import schema

ROW_SUM: Final = "row sum"
MASKED_WEIGHT: Final = "masked weight"
"""What `gather` finds beside the datasets: (B,) float32 each, see `Errors`."""


@dataclass(frozen=True)
class Errors:
    """How far the recorded weights are from what attention must be."""

    row_sum: float
    """Largest |sum of a row - 1|. Rows rounded to bfloat16 are off by up to 2e-3 each."""
    masked_weight: float
    """Largest weight on a key that the mask hides; 0 where every key is valid."""


@dataclass(frozen=True)
class Marks:
    """What the tokens of a call's rows are, on the host or on the policy's device."""

    own: Tensor
    """(B, T) bool: False on padding."""
    keys: summaries.Keys
    """Groups of the keys of every row; padding is of no group, and weighs nothing anyway."""
    padded: bool
    """Whether any row has padding."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.own, self.keys.group, self.keys.picture

    def each(self, change: Callable[[Tensor], Tensor]) -> Marks:
        """The same with every tensor changed."""
        keys = summaries.Keys(change(self.keys.group), change(self.keys.picture), self.keys.groups)
        return Marks(change(self.own), keys, self.padded)


def marks_of(prepared: Sequence[Prepared], horizon: int) -> Marks:
    """The marks of a call of these observations, on the host."""
    lengths = torch.tensor([len(one.tokens) for one in prepared])  # (B,)
    longest = int(lengths.max())
    every = []
    for one in prepared:
        bars = [picture.letterbox.bars for picture in one.pictures.values()]
        roles = np.full(longest, schema.ROLES.index("newline"), np.int32)
        roles[: len(one.tokens)] = one.tokens.role
        every.append(summaries.keys_of(bars, roles, horizon))
    own = torch.arange(longest) < lengths[:, None]  # (B, T)
    return Marks(own, summaries.batched(every), int(lengths.min()) < longest)


def assemble(call: Call, weights: torch.dtype | None = None) -> list[tuple[schema.Frame, Errors]]:
    """Every dataset of each frame of the call, and the errors found in its weights."""
    return frames(call, {name: value.cpu() for name, value in gather(call, weights).items()})


@torch.no_grad()
def gather(call: Call, weights: torch.dtype | None = None, marks: Marks | None = None) -> dict[str, Tensor]:
    """The datasets that come from the call's tensors, (B, ...) each and contiguous, on the policy's device.

    `weights`: number type of attention, if it shall not stay as the policy computed it. `marks`: of the call, where
    they are on the device already. Text axes are as long as the longest prompt of the batch. Waits for nothing.
    """
    layout, recording = call.layout, call.recording
    device, kept = call.path.device, weights or call.recording.prefix.dtype
    if marks is None:
        marks = marks_of(call.prepared, call.path.shape[2]).each(lambda one: uploaded(one, device))
    own = marks.own
    batch, longest = own.shape

    text_rows = recording.prefix.transpose(2, 3)  # (B, L, rows, N, K): all rows, or the text's alone
    full = text_rows.shape[2] == text_rows.shape[4]
    if full:
        text_rows = text_rows[:, :, layout.text]  # (B, L, T, N, K)
    action_rows = recording.suffix.permute(0, 1, 4, 2, 3, 5)  # (B, L, H, S, N, K + H)
    found: dict[str, Tensor] = {}
    found[schema.TEXT_TO_IMAGE], found[schema.TEXT_TO_TEXT], _ = _blocks(text_rows, layout, kept)
    images, text, actions = _blocks(action_rows, layout, kept)
    found |= {schema.ACTION_TO_IMAGE: images, schema.ACTION_TO_TEXT: text, schema.ACTION_TO_ACTION: actions}
    if full:
        queries = torch.stack([recording.prefix[..., block, :] for block in layout.patches], dim=3)
        queries = queries.unflatten(4, (schema.GRID, schema.GRID))  # (B, L, N, C, 16, 16, K)
        found[schema.IMAGE_TO_IMAGE], found[schema.IMAGE_TO_TEXT], _ = _blocks(queries, layout, kept)

    worst = torch.zeros(batch, device=device)  # (B,)
    hidden = torch.zeros(batch, device=device)  # (B,)
    for rows, name_mass, name_entropy, queries_own in (
        (text_rows, schema.TEXT_MASS, schema.TEXT_ENTROPY, own[:, None, :, None]),
        (action_rows, schema.ACTION_MASS, schema.ACTION_ENTROPY, None),
    ):
        keys = marks.keys.first(rows.shape[-1])
        wide = rows.float()  # (B, L, queries, ..., N, keys)
        with exact_float32():
            mass = summaries.mass(wide, keys)  # (B, L, queries, ..., N, groups)
        found[name_mass], found[name_entropy] = mass, summaries.entropy(wide, keys)
        off = (mass.sum(-1) - 1).abs()  # (B, L, queries, ..., N)
        if queries_own is not None:
            off = off.masked_fill(~queries_own, 0)
        worst = torch.maximum(worst, off.flatten(1).amax(1))
        if marks.padded:
            shape = (batch, *[1] * (rows.ndim - 2), longest)
            masked = wide[..., layout.text].masked_fill(own.view(shape), 0).amax(-1)  # (B, L, queries, ..., N)
            if queries_own is not None:
                masked = masked.masked_fill(~queries_own, 0)
            hidden = torch.maximum(hidden, masked.flatten(1).amax(1))
    found |= {ROW_SUM: worst, MASKED_WEIGHT: hidden}

    for norms, name_image, name_text in (  # norms (B, L, N, K)
        (call.norms.language, schema.TEXT_VALUE_NORM_IMAGE, schema.TEXT_VALUE_NORM_TEXT),
        (call.norms.expert, schema.ACTION_VALUE_NORM_IMAGE, schema.ACTION_VALUE_NORM_TEXT),
    ):
        found[name_image], found[name_text] = _patches(norms, layout), norms[..., layout.text]
    found[schema.ACTION_VALUE_NORM_ACTION] = call.norms.action
    found[schema.ACTION_X] = call.path.transpose(0, 1)  # (B, steps + 1, H, A)
    found[schema.ACTION_TIME] = call.time.expand(batch, -1)  # (B, steps)
    positions = layout.positions.int()  # (B, K)
    found[schema.IMAGE_POSITION] = _patches(positions, layout)  # (B, C, 16, 16)
    found[schema.TEXT_POSITION] = positions[:, layout.text]  # (B, T)
    return {name: value.contiguous() for name, value in found.items()}


def frames(call: Call, found: Mapping[str, Tensor]) -> list[tuple[schema.Frame, Errors]]:
    """The frames of a call, with what `gather` found of it, brought to the host. Nothing large is copied."""
    arrays, errors = host_arrays(found)
    return [(frame_of(arrays, Row(0, row, known(call, arrays, row))), one) for row, one in enumerate(errors)]


def host_arrays(found: Mapping[str, Tensor]) -> tuple[Arrays, list[Errors]]:
    """What `gather` found, on the host, as numpy sees it: datasets, (B, ...) each, and the errors of each frame."""
    arrays = {name: _array(value) for name, value in found.items()}
    off, masked = arrays.pop(ROW_SUM).tolist(), arrays.pop(MASKED_WEIGHT).tolist()
    return arrays, [Errors(*one) for one in zip(off, masked, strict=True)]


def known(asked: Asked, arrays: Arrays, row: int) -> schema.Frame:
    """What frame number `row` of a call holds beside its part of the call's arrays."""
    prepared = asked.prepared[row]
    table, observation = prepared.tokens, prepared.observation
    actions = asked.robot(arrays[schema.ACTION_X][row, -1], observation.state)
    state = np.zeros(0) if observation.state is None else observation.state
    frame: schema.Frame = {
        schema.FRAMES_INDEX: observation.index,
        schema.FRAMES_TIME: observation.time,
        schema.FRAMES_EPISODE: observation.episode,
        schema.FRAMES_PROMPT: observation.prompt,
        schema.FRAMES_TEXT: table.text,
        schema.FRAMES_STATE: state.astype(np.float32),
        schema.FRAMES_SEED: asked.seeds[row],
        schema.TEXT_ID: table.ids,
        schema.TEXT_PIECE: np.array(table.pieces, dtype=object),
        schema.TEXT_START: table.start,
        schema.TEXT_STOP: table.stop,
        schema.TEXT_ROLE: table.role,
        schema.TEXT_WORD: table.word,
        schema.TEXT_STATE_INDEX: table.state_index,
        schema.ACTION_PREDICTED: actions,
        schema.ACTION_TRUTH: _truth(observation.true_actions, actions.shape),
    }
    for camera, picture in prepared.pictures.items():
        frame[schema.source_name(camera)] = observation.pictures[camera]
        frame[schema.model_picture_name(camera)] = picture.model_u8
        frame[schema.to_model_name(camera)] = picture.letterbox.to_model
    return frame


def _blocks(rows: Tensor, layout: Layout, kept: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Cut (..., keys) into the picture's (..., C, 16, 16), the text's (..., T) and the actions' (..., H) weights."""
    return (
        _patches(rows, layout).to(kept),
        rows[..., layout.text].to(kept),
        rows[..., layout.text.stop :].to(kept),
    )


def _patches(rows: Tensor, layout: Layout) -> Tensor:
    grids = [rows[..., block].unflatten(-1, (schema.GRID, schema.GRID)) for block in layout.patches]
    return torch.stack(grids, dim=-3)  # (..., C, 16, 16)


def _array(values: Tensor) -> npt.NDArray[Any]:
    """The same memory as numpy sees it, bfloat16 as its 16 bits."""
    if values.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    array: npt.NDArray[Any] = values.numpy()
    return array


def _truth(given: npt.NDArray[np.float32] | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """True actions cut or filled with NaN to the predicted chunk's shape."""
    truth = np.full(shape, np.nan, np.float32)
    if given is not None:
        rows, dims = min(len(given), shape[0]), min(given.shape[1], shape[1])
        truth[:rows, :dims] = given[:rows, :dims]
    return truth
