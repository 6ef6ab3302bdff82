"""Read from a results file what a call needs to be made again: pictures, prompt, state, noise, actions, attention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from capture.effects.targets import Mask
from capture.errors import UserError
from capture.observation import Observation
from capture.results import schema
from capture.results.read_access import find_dataset, open_for_reading, read_row
from capture.results.scores_schema import HAS_MAPS


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
    word: npt.NDArray[np.int32]
    """(n,) number of the word that each token belongs to, -1 for none."""


class ResultsFrames:
    """The frames of a complete results file, or of an unfinished one that no capture is writing.

    Raises UserError on entry for a file that cannot be read or is no results file. HDF5 trusts what it reads: have
    another process look at the file first, as `capture.cli.info.describe.describe` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            self._file = open_for_reading(self.path)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"{self.path} cannot be read ({str(error).partition(chr(10))[0]})") from None
        try:
            attributes = self._file.attrs
            is_known = attributes["format"] == schema.FORMAT
            is_known = is_known and int(attributes["format_version"][0]) == schema.FORMAT_VERSION[0]
            self.uuid = str(attributes["uuid"])
            self.cameras = tuple(str(name) for name in attributes["cameras"])
            self.layers = tuple(int(layer) for layer in attributes["layers"])
            self.steps = tuple(int(step) for step in attributes["steps"])
            self.model: dict[str, Any] = json.loads(attributes["model"])
            self.count = int(find_dataset(self._file, schema.FRAMES_DONE, 0)[()])
            self.tokens = int(find_dataset(self._file, schema.TEXT_ID, 2).shape[1])
            self.grid: tuple[int, int] = find_dataset(self._file, schema.ACTION_TO_IMAGE, 8).shape[-2:]
        except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
            self._file.close()
            raise UserError(f"{self.path} is no results file of pi0-capture ({error})") from None
        if not is_known:
            self._file.close()
            raise UserError(f"{self.path} is no results file of pi0-capture, or of a newer version")
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
            raise UserError(f"frame {number} of {self.path} cannot be read ({error})") from None

    def prompt(self, number: int) -> str:
        """Return the task of a frame."""
        return _text(self._row(schema.FRAMES_PROMPT, 1, number))

    def text(self, number: int) -> tuple[str, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Return the tokenised text of a frame and of its tokens first character, stop, and whether of the task."""
        role = self._row(schema.TEXT_ROLE, 2, number)
        count = int((role != schema.ROLES.index("pad")).sum())
        start, stop = (self._row(name, 2, number)[:count] for name in (schema.TEXT_START, schema.TEXT_STOP))
        text = _text(self._row(schema.FRAMES_TEXT, 1, number))
        return text, start, stop, role[:count] == schema.ROLES.index("prompt")

    def words(self, number: int) -> npt.NDArray[np.int32]:
        """Return the number of the word that each token belongs to, padding included; -1 for none: (tokens,)."""
        numbers: npt.NDArray[np.int32] = self._row(schema.TEXT_WORD, 2, number)
        return numbers

    def pictured(self, number: int) -> Mask:
        """Return which patches (cameras, rows, cols) show some of a picture, not a letterbox bar alone.

        A patch shows some of it where it overlaps the bounding box of the picture in the model's plane.
        """
        shown = np.zeros((len(self.cameras), *self.grid), bool)
        for index, camera in enumerate(self.cameras):
            to_model = self._row(schema.to_model_name(camera), 3, number)  # (2, 3)
            height, width = find_dataset(self._file, schema.source_name(camera), 4).shape[1:3]
            corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ to_model.T  # (4, 2)
            lowest, highest = corners.min(0), corners.max(0)
            size = find_dataset(self._file, schema.model_picture_name(camera), 4).shape[1:3]
            edges = [np.arange(n + 1) * (pixels / n) for n, pixels in zip(self.grid, size, strict=True)]
            rows = (edges[0][1:] > lowest[1] + 1e-3) & (edges[0][:-1] < highest[1] - 1e-3)
            cols = (edges[1][1:] > lowest[0] + 1e-3) & (edges[1][:-1] < highest[0] - 1e-3)
            shown[index] = rows[:, None] & cols[None, :]
        return shown

    def has_maps(self, number: int) -> bool:
        """Return whether the attention maps of a frame were kept."""
        return HAS_MAPS not in self._file or bool(self._row(HAS_MAPS, 1, number))

    def attention_of_action(self, number: int, action: int) -> npt.NDArray[np.float32]:
        """Return the weights of an action token on the patches: (layers, steps, heads, cameras, rows, cols) float32.

        NaN where they were not kept.
        """
        rows = [self._row(schema.ACTION_TO_IMAGE, 8, number, layer, action) for layer in range(len(self.layers))]
        return np.stack(rows).astype(np.float32)

    def _row(self, name: str, axes: int, *index: int) -> Any:
        return read_row(self._file, name, axes, *index)

    def _frame(self, number: int) -> StoredFrame:
        pictures = {name: self._row(schema.source_name(name), 4, number) for name in self.cameras}
        model = {name: self._row(schema.model_picture_name(name), 4, number) for name in self.cameras}
        state = self._row(schema.FRAMES_STATE, 2, number).astype(np.float64)
        text, start, stop, prompt_tokens = self.text(number)
        first = self.cameras[0]
        observation = Observation(
            pictures,
            _text(self._row(schema.FRAMES_PROMPT, 1, number)),
            state if len(state) else None,
            index=int(self._row(schema.FRAMES_INDEX, 1, number)),
            time=float(self._row(schema.FRAMES_TIME, 1, number)),
            episode=_text(self._row(schema.FRAMES_EPISODE, 1, number)),
            is_upside_down=bool(self._row(schema.to_model_name(first), 3, number)[0, 0] < 0),
        )
        return StoredFrame(
            observation=observation,
            noise=self._row(schema.FRAMES_NOISE, 3, number),
            predicted=self._row(schema.ACTION_PREDICTED, 3, number),
            model_pictures=model,
            tokens=self._row(schema.TEXT_ID, 2, number)[: len(start)],
            prompt_tokens=prompt_tokens,
            text=text,
            start=start,
            stop=stop,
            word=self._row(schema.TEXT_WORD, 2, number)[: len(start)],
        )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
