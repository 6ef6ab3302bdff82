"""From one recorded call of a policy to one frame of the results file: cut, reordered and summed up, on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture import schema, summaries
from capture.policy import Call, Layout


@dataclass(frozen=True)
class Errors:
    """How far the recorded weights are from what attention must be."""

    row_sum: float
    """Largest |sum of a row - 1|. Rows rounded to bfloat16 are off by up to 2e-3 each."""
    masked_weight: float
    """Largest weight on a key that the mask hides; 0 where every key is valid."""


def assemble(call: Call) -> tuple[schema.Frame, Errors]:
    """Every dataset of the frame, and the errors found in its weights. Runs on the host alone."""
    table, observation, layout = call.prepared.tokens, call.prepared.observation, call.layout
    recording = call.recording
    frame: schema.Frame = {
        schema.FRAMES_INDEX: observation.index,
        schema.FRAMES_TIME: observation.time,
        schema.FRAMES_EPISODE: observation.episode,
        schema.FRAMES_PROMPT: observation.prompt,
        schema.FRAMES_TEXT: table.text,
        schema.FRAMES_STATE: np.zeros(0, np.float32)
        if observation.state is None
        else observation.state.astype(np.float32),
        schema.FRAMES_SEED: call.seed,
        schema.FRAMES_NOISE: call.noise,
        schema.TEXT_ID: table.ids,
        schema.TEXT_PIECE: np.array(table.pieces, dtype=object),
        schema.TEXT_START: table.start,
        schema.TEXT_STOP: table.stop,
        schema.TEXT_ROLE: table.role,
        schema.TEXT_WORD: table.word,
        schema.TEXT_STATE_INDEX: table.state_index,
        schema.TEXT_POSITION: layout.positions[layout.text].astype(np.int32),
        schema.IMAGE_POSITION: np.stack([_grid(layout.positions[block]) for block in layout.patches]).astype(np.int32),
        schema.ACTION_PREDICTED: call.actions,
        schema.ACTION_TRUTH: _truth(observation.truth, call.actions.shape),
        schema.ACTION_X: call.path,
        schema.ACTION_TIME: call.time,
    }
    for camera, picture in call.prepared.pictures.items():
        frame[schema.source_name(camera)] = observation.pictures[camera]
        frame[schema.model_picture_name(camera)] = picture.model_u8
        frame[schema.to_model_name(camera)] = picture.letterbox.to_model

    text_rows = recording.prefix[0].transpose(1, 2)  # (L, rows, N, K): all rows, or the text's alone
    full = text_rows.shape[1] == text_rows.shape[3]
    image_rows = recording.prefix[0] if full else None  # (L, N, K, K)
    if full:
        text_rows = text_rows[:, layout.text]  # (L, T, N, K)
    action_rows = recording.suffix[0].permute(0, 3, 1, 2, 4)  # (L, H, S, N, K + H)

    frame[schema.TEXT_TO_IMAGE], frame[schema.TEXT_TO_TEXT], _ = _blocks(text_rows, layout)
    images, text, own = _blocks(action_rows, layout)
    frame[schema.ACTION_TO_IMAGE], frame[schema.ACTION_TO_TEXT], frame[schema.ACTION_TO_ACTION] = images, text, own
    if image_rows is not None:
        queries = torch.stack([image_rows[:, :, block] for block in layout.patches], dim=2)  # (L, N, C, 256, K)
        queries = queries.unflatten(3, (schema.GRID, schema.GRID))  # (L, N, C, 16, 16, K)
        frame[schema.IMAGE_TO_IMAGE], frame[schema.IMAGE_TO_TEXT], _ = _blocks(queries, layout)

    bars = [picture.letterbox.bars for picture in call.prepared.pictures.values()]
    horizon = action_rows.shape[1]
    worst = 0.0
    for rows, actions, mass_name, entropy_name in (
        (text_rows, 0, schema.TEXT_MASS, schema.TEXT_ENTROPY),
        (action_rows, horizon, schema.ACTION_MASS, schema.ACTION_ENTROPY),
    ):
        keys = summaries.keys_of(bars, table.role, actions)
        wide = rows.float()  # (L, queries, ..., N, keys)
        mass = summaries.mass(wide, keys)  # (L, queries, ..., N, groups)
        worst = float(np.maximum(worst, (mass.sum(-1) - 1).abs().max().item()))
        frame[mass_name] = mass.numpy()
        frame[entropy_name] = summaries.entropy(wide, keys).numpy()

    norms = call.norms
    for lengths, image_name, text_name in (  # lengths (L, N, K)
        (norms.language, schema.TEXT_VALUE_NORM_IMAGE, schema.TEXT_VALUE_NORM_TEXT),
        (norms.expert, schema.ACTION_VALUE_NORM_IMAGE, schema.ACTION_VALUE_NORM_TEXT),
    ):
        frame[image_name] = _patches(lengths, layout).numpy()
        frame[text_name] = lengths[..., layout.text].contiguous().numpy()
    frame[schema.ACTION_VALUE_NORM_ACTION] = norms.action.contiguous().numpy()
    return frame, Errors(worst, _on_masked(call))


def _blocks(rows: Tensor, layout: Layout) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Cut (..., keys) into the picture's (..., C, 16, 16), the text's (..., T) and the actions' (..., H) weights."""
    return (
        _stored(_patches(rows, layout)),
        _stored(rows[..., layout.text]),
        _stored(rows[..., layout.text.stop :]),
    )


def _patches(rows: Tensor, layout: Layout) -> Tensor:
    grids = [rows[..., block].unflatten(-1, (schema.GRID, schema.GRID)) for block in layout.patches]
    return torch.stack(grids, dim=-3)  # (..., C, 16, 16)


def _stored(weights: Tensor) -> npt.NDArray[Any]:
    """bfloat16 weights as their 16 bits, all others as float32."""
    if weights.dtype == torch.bfloat16:
        return weights.contiguous().view(torch.int16).numpy().view(np.uint16)
    return weights.float().contiguous().numpy()


def _grid(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return positions.reshape(schema.GRID, schema.GRID)


def _truth(given: npt.NDArray[np.float32] | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """True actions cut or filled with NaN to the predicted chunk's shape."""
    truth = np.full(shape, np.nan, np.float32)
    if given is not None:
        rows, dims = min(len(given), shape[0]), min(given.shape[1], shape[1])
        truth[:rows, :dims] = given[:rows, :dims]
    return truth


def _on_masked(call: Call) -> float:
    valid = call.recording.prefix_valid
    if valid is None or bool(valid.all()):
        return 0.0
    hidden = ~valid[0]  # (K,)
    text = call.recording.prefix[0, ..., hidden]  # (L, N, rows, hidden)
    action = call.recording.suffix[0][..., : len(hidden)][..., hidden]  # (L, S, N, H, hidden)
    return float(np.maximum(text.float().max().item(), action.float().max().item()))
