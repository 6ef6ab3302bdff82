"""From the messages of openpi's clients to observations of the policy.

The keys of the DROID, LIBERO and ALOHA clients differ; cameras and states are found among them by the table of names
that data sets are read with (`capture.datasets.key_mapping`), and each choice is a decision of the results' provenance.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.datasets.base import SourceOptions
from capture.datasets.images import picture_from_array
from capture.datasets.key_mapping import NONE, KeyMapping, map_keys
from capture.errors import UserError
from capture.observation import RIGHT_WRIST, Observation
from capture.provenance import Decision
from capture.rollouts.call_masks import CallMasks

PROMPT: Final = "prompt"
"""Key of the task."""
SOURCE: Final = "the client's observation"
"""What error messages call the message."""
MAX_DEPTH: Final = 4
"""Maps within each other in an observation."""
MAX_STATE: Final = 1_024
"""Numbers of a part of the state; longer vectors are none."""
MAX_PROMPT: Final = 4_000
"""Characters of a task."""
LISTED_KEYS: Final = 12
"""Keys of an observation that an error message names."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Parts:
    """What an observation message holds, by the last part of each key, or the whole key where several end alike."""

    cameras: Mapping[str, Array]
    """Name -> array with three axes."""
    state: Mapping[str, Array]
    """Name -> vector of numbers."""
    prompt: str | None
    aliases: Mapping[str, str]
    """Whole key -> name."""

    @property
    def outline(self) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
        """Names of the cameras and lengths of the state's parts, which alone decide the mapping."""
        return tuple(self.cameras), tuple((name, len(values)) for name, values in self.state.items())


class ObservationMapper:
    """Maps the observations of one client; finds the mapping anew only where the client's keys change.

    `options`: what the policy needs, with the user's choices. `needs_state`: whether the policy can do without a state.
    `prompt`: the task of observations without one; None refuses them.
    """

    def __init__(self, options: SourceOptions, *, needs_state: bool, prompt: str | None) -> None:
        self._options, self._needs_state, self._prompt = options, needs_state, prompt
        self._outline: object = None
        self._mapping: KeyMapping | None = None
        self._cameras: Mapping[str, str] = {}
        """Keys of the pictures of the last message -> names."""

    def map(self, message: Mapping[str, Any]) -> tuple[Observation, tuple[Decision, ...]]:
        """Return the observation of a message, and the decisions about its keys.

        Raises UserError where a camera, the state or the task is missing or unusable.
        """
        parts = split_message(message)
        if self._mapping is None or parts.outline != self._outline:
            self._mapping = self._find_mapping(parts)
            self._outline = parts.outline
        mapping = self._mapping
        self._cameras = {key: name for key, name in parts.aliases.items() if name in parts.cameras}
        pictures = {
            slot: picture_from_array(parts.cameras[name], f"the client's picture {name}")
            for slot, name in mapping.cameras.items()
        }
        values = [parts.state[name].astype(np.float64) for name in mapping.state]
        prompt = self._prompt if parts.prompt is None else parts.prompt
        if prompt is None:
            raise UserError(
                f"{SOURCE} has no task; send it under the key {PROMPT!r}, or start the server with --prompt TEXT"
            )
        observation = Observation(pictures, prompt, np.concatenate(values) if values else None)
        origin = "the client's" if parts.prompt is not None else "the client sends none"
        chosen = Decision("prompt", origin if parts.prompt is not None else "by --prompt", origin, is_certain=True)
        return observation, (*mapping.decisions, chosen)

    def find_masks(self, masks: CallMasks, observation: Observation) -> CallMasks:
        """Return masks that came with the observation that was mapped last, by the policy's names of its cameras.

        They may be of any picture of the message; those of pictures that the policy is not shown are left out. Raises
        UserError for masks of something else, or of another size than the picture.
        """
        assert self._mapping is not None
        slots = {name: slot for slot, name in self._mapping.cameras.items()}

        def rename(camera: str) -> str | None:
            if camera in observation.pictures:
                return camera
            name = self._cameras.get(camera, camera)
            if name not in self._cameras.values():
                shown = _list(tuple(self._cameras))
                raise UserError(f"the masks are of a camera {camera[:40]!r}; the message has pictures of {shown}")
            return slots.get(name)

        renamed = masks.rename_cameras(rename)
        renamed.check_sizes(observation.pictures)
        return renamed

    def _find_mapping(self, parts: Parts) -> KeyMapping:
        if not parts.cameras:
            raise UserError(
                f"{SOURCE} has no picture, an array (height, width, 3); it has {_list(sorted(parts.aliases))}"
            )
        lengths = {name: len(values) for name, values in parts.state.items()}
        names = tuple(parts.cameras)
        mapping = map_keys(SOURCE, self._options, names, state=lengths, actions={}, aliases=parts.aliases)
        for slot in self._options.cameras:
            # What a robot does without one of its eyes should be somebody's decision. One arm has no right wrist.
            is_left_out = self._options.camera_overrides.get(slot) == NONE or slot == RIGHT_WRIST
            if slot not in mapping.cameras and not is_left_out:
                raise UserError(
                    f"{SOURCE} has no picture for the policy's {slot} camera; it has {_list(names)}; start the server "
                    f'with --camera "{slot}=NAME" to name it, or --camera "{slot}={NONE}" to go without'
                )
        if self._needs_state and not mapping.state:
            raise UserError(
                f"{SOURCE} has no state that is known to be this policy's; it has "
                f"{_list([f'{name} ({length})' for name, length in lengths.items()])}; name its parts with --state-keys"
            )
        decisions = tuple(decision for decision in mapping.decisions if decision.subject != "true actions")
        return KeyMapping(mapping.cameras, mapping.state, (), decisions)


def split_message(message: Mapping[str, Any]) -> Parts:
    """Return the cameras, the parts of the state and the prompt of an observation message.

    Arrays with three axes are pictures, numbers and vectors of numbers are parts of the state; other values are left
    out. Raises UserError for keys that are no text, maps that are nested too deeply, and a prompt that is no text.
    """
    values = dict(_flatten(message, "", 0))
    prompt = None if PROMPT not in values else _read_text(values.pop(PROMPT))
    ends = {key: _last_part(key) for key in values}
    count = Counter(ends.values())
    names = {key: end if count[end] == 1 else key for key, end in ends.items()}
    cameras: dict[str, Array] = {}
    state: dict[str, Array] = {}
    for key, value in values.items():
        array = np.asarray(value) if _is_numbers(value) else None
        if array is None or array.dtype.kind not in "iuf":
            continue
        if array.ndim == 3:
            cameras[names[key]] = array
        elif array.ndim <= 1 and array.size <= MAX_STATE:
            state[names[key]] = array.reshape(-1)
    return Parts(cameras, state, prompt, {key: name for key, name in names.items() if name in cameras or name in state})


def _flatten(value: Mapping[Any, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth == MAX_DEPTH:
        raise UserError(f"{SOURCE} has maps nested more than {MAX_DEPTH} deep")
    for key, inner in value.items():
        if not isinstance(key, str):
            raise UserError(f"{SOURCE} has a key that is {type(key).__name__} instead of text")
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{above}{key}/", depth + 1)
        else:
            yield f"{above}{key}", inner


def _is_numbers(value: object) -> bool:
    """Return whether a value is a number, an array or a flat list of numbers."""
    if isinstance(value, list):
        return all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    return isinstance(value, int | float | np.ndarray | np.number) and not isinstance(value, bool)


def _last_part(key: str) -> str:
    """Return the name in `observation/image`, `images/cam_high` and `observation.images.cam_high`."""
    end = key.rpartition("/")[2]
    for prefix in ("observation.", "images.", "image.", "state."):
        end = end.removeprefix(prefix)
    return end or key


def _read_text(value: object) -> str:
    """Return a task. Raises UserError for what is no text, or too long, or cannot be stored."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.size == 1:
        with contextlib.suppress(ValueError):  # code points that are none
            value = value.item()
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if not isinstance(text, str):
            raise UserError(f"{SOURCE} has a {PROMPT} that is no text")
        text.encode()
    except UnicodeError:
        raise UserError(f"{SOURCE} has a {PROMPT} that is no text in UTF-8") from None
    if len(text) > MAX_PROMPT:
        raise UserError(f"{SOURCE} has a {PROMPT} of {len(text)} characters; {MAX_PROMPT} are the limit")
    return str(text)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED_KEYS} more" if len(names) > LISTED_KEYS else ""
    return (", ".join(name[:80] for name in names[:LISTED_KEYS]) or "none") + more
