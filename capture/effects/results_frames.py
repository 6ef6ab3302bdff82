"""Read from a results file what a call needs to be made again: pictures, prompt, state, noise, actions, attention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from capture.effects.targets import Mask
from capture.errors import UserError
from capture.observation import Observation
from capture.results import schema

ACTION_LIMITS = {"float32": 1e-3, "bfloat16": 2e-2}
"""How far a repeated call's actions may lie from the stored ones, by the policy's number type: other devices round
differently, most of all in bfloat16."""


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame of a results file."""

    observation: Observation
    noise: npt.NDArray[np.float32]
    """(H, A)"""
    predicted: npt.NDArray[np.float32]
    """(H, robot dims) in robot units."""
    model_pictures: Mapping[str, npt.NDArray[np.uint8]]
    """Camera name -> (height, width, 3): the model's picture."""
    tokens: npt.NDArray[np.int32]
    """(n,) token ids as fed."""
    prompt_tokens: npt.NDArray[np.bool_]
    """(n,) which tokens belong to the task."""
    text: str
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    """(n,) each: characters of the tokens in `text`."""


class ResultsFrames:
    """The frames of a complete results file, or of an unfinished one that no capture is writing.

    Raises UserError on entry for a file that cannot be read or is no results file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = h5py.File(self._path)
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {_reason(self._path, error)}") from None
        try:
            attributes = self._file.attrs
            is_known = attributes["format"] == schema.FORMAT
            is_known = is_known and int(attributes["format_version"][0]) == schema.FORMAT_VERSION[0]
            self.uuid = str(attributes["uuid"])
            self.cameras = tuple(str(name) for name in attributes["cameras"])
            self.layers = tuple(int(layer) for layer in attributes["layers"])
            self.steps = tuple(int(step) for step in attributes["steps"])
            self.model: dict[str, Any] = json.loads(attributes["model"])
            self.count = int(self._file[schema.FRAMES_DONE][()])
            self.tokens = int(self._file[schema.TEXT_ID].shape[1])
            self.grid: tuple[int, int] = self._file[schema.ACTION_TO_IMAGE].shape[-2:]
        except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
            self._file.close()
            raise UserError(f"{self._path} is no results file of pi0-capture ({error})") from None
        if not is_known:
            self._file.close()
            raise UserError(f"{self._path} is no results file of pi0-capture, or of a newer version")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def frame(self, number: int) -> StoredFrame:
        """Return a frame by its stored number, from 0. Raises UserError where its data cannot be read."""
        try:
            return self._frame(number)
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise UserError(f"frame {number} of {self._path} cannot be read ({error})") from None

    def pictured(self, number: int) -> Mask:
        """Return which patches (cameras, rows, cols) show some of a picture, not a letterbox bar alone.

        A patch shows some of it where it overlaps the bounding box of the picture in the model's plane.
        """
        shown = np.zeros((len(self.cameras), *self.grid), bool)
        for place, camera in enumerate(self.cameras):
            to_model = self._file[schema.to_model_name(camera)][number]  # (2, 3)
            height, width = self._file[schema.source_name(camera)].shape[1:3]
            corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ to_model.T  # (4, 2)
            low, high = corners.min(0), corners.max(0)
            size = self._file[schema.model_picture_name(camera)].shape[1:3]
            edges = [np.arange(n + 1) * (pixels / n) for n, pixels in zip(self.grid, size, strict=True)]
            rows = (edges[0][1:] > low[1] + 1e-3) & (edges[0][:-1] < high[1] - 1e-3)
            cols = (edges[1][1:] > low[0] + 1e-3) & (edges[1][:-1] < high[0] - 1e-3)
            shown[place] = rows[:, None] & cols[None, :]
        return shown

    def attention_of_action(self, number: int, action: int) -> npt.NDArray[np.float32]:
        """Return the weights of an action token on the patches: (layers, steps, heads, cameras, rows, cols) float32."""
        return np.asarray(self._file[schema.ACTION_TO_IMAGE][number, :, action], np.float32)

    def _frame(self, number: int) -> StoredFrame:
        file = self._file
        pictures = {name: file[schema.source_name(name)][number] for name in self.cameras}
        model = {name: file[schema.model_picture_name(name)][number] for name in self.cameras}
        state = file[schema.FRAMES_STATE][number].astype(np.float64)
        role = file[schema.TEXT_ROLE][number]
        count = int((role != schema.ROLES.index("pad")).sum())
        first = self.cameras[0]
        observation = Observation(
            pictures,
            _text(file[schema.FRAMES_PROMPT][number]),
            state if len(state) else None,
            index=int(file[schema.FRAMES_INDEX][number]),
            time=float(file[schema.FRAMES_TIME][number]),
            episode=_text(file[schema.FRAMES_EPISODE][number]),
            is_upside_down=bool(file[schema.to_model_name(first)][number][0, 0] < 0),
        )
        return StoredFrame(
            observation=observation,
            noise=file[schema.FRAMES_NOISE][number],
            predicted=file[schema.ACTION_PREDICTED][number],
            model_pictures=model,
            tokens=file[schema.TEXT_ID][number][:count],
            prompt_tokens=role[:count] == schema.ROLES.index("prompt"),
            text=_text(file[schema.FRAMES_TEXT][number]),
            start=file[schema.TEXT_START][number][:count],
            stop=file[schema.TEXT_STOP][number][:count],
        )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _reason(path: Path, error: OSError) -> str:
    if not path.exists():
        return "there is no such file"
    return (
        "it is no complete HDF5 file, or a capture is still writing it" if error.errno is None else str(error.strerror)
    )
