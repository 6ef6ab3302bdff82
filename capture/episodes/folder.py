"""Episodes as a folder of pictures with an `episode.json`.

    {"prompt": "pick up the duck",
     "frames": [{"index": 0, "time": 0.0, "pictures": {"exterior": "exterior_00.jpg", "wrist": "wrist_00.jpg"},
                 "state": [0.1, ...], "actions": [[0.1, ...], ...]}, ...]}

`time` (seconds), `state` and `actions` (true actions from this moment on, in robot units) may be left out, and so may
`index` (the frames' own order then). Further keys are ignored. Picture files lie in the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.observation import Observation
from capture.picture_files import read_picture

NAME = "episode.json"


def read_episodes(folder: Path) -> list[Observation]:
    """Every frame of every episode folder below `folder`, in name order. Raises UserError if there is none."""
    found = [path.parent for path in sorted(folder.glob(f"*/{NAME}"))]
    if not found:
        raise UserError(f"there is no episode in {folder}: no folder in it has an {NAME}")
    return [frame for episode in found for frame in read_episode(episode)]


def read_episode(folder: Path) -> list[Observation]:
    """The frames of one episode folder. Raises UserError for a file that is missing or not of this form."""
    path = folder / NAME
    try:
        episode = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(episode, dict) or not isinstance(episode.get("frames"), list) or not episode["frames"]:
        raise UserError(f"{path} has no list of frames")
    return [_frame(path, number, told, episode.get("prompt")) for number, told in enumerate(episode["frames"])]


def _frame(path: Path, number: int, told: Any, prompt: Any) -> Observation:
    where = f"frame {number} of {path}"
    if not isinstance(told, dict) or not isinstance(told.get("pictures"), dict) or not told["pictures"]:
        raise UserError(f"{where} names no pictures")
    prompt = told.get("prompt", prompt)
    if not isinstance(prompt, str):
        raise UserError(f"{where} has no prompt, and neither has the episode")
    index, time = told.get("index", number), told.get("time", 0.0)
    if not isinstance(index, int) or isinstance(index, bool) or index < 0 or not isinstance(time, int | float):
        raise UserError(f"{where} has an index or a time that is not a number from 0 on")
    pictures = {}
    for camera, name in told["pictures"].items():
        file = path.parent / str(name)
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise UserError(f"{where} names a picture outside its folder: {name}")
        pictures[camera] = read_picture(file)
    state, actions = _numbers(told.get("state"), 1, where, "state"), _numbers(told.get("actions"), 2, where, "actions")
    return Observation(
        pictures=pictures,
        prompt=prompt,
        state=state,
        truth=None if actions is None else actions.astype(np.float32),
        index=index,
        time=float(time),
        episode=path.parent.name,
    )


def _numbers(given: Any, axes: int, where: str, what: str) -> npt.NDArray[np.float64] | None:
    if given is None:
        return None
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.ndim != axes or not np.isfinite(values).all():
        raise UserError(f"{where} has {what} that are not {'one list' if axes == 1 else 'lists'} of finite numbers")
    return values
