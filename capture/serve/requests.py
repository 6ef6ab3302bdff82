"""What a client may say to the recording, beside its observation: the key `pi0-capture` of a message.

With an observation::

    {"pi0-capture": {"record": True, "new_episode": True, "seed": 7}, "observation/image": ..., ...}

with masks of objects in its pictures, whose regions are scored (`capture.rollouts.call_masks` has both forms)::

    {"pi0-capture": {"masks": {"observation/image": {"duck": mask}}}, "observation/image": ..., ...}
    {"pi0-capture": {"masks": {"observation/image": labels}, "mask_values": {"duck": 3, "bowl": [5, 6]}}, ...}

alone, to end the episode that it began::

    {"pi0-capture": {"end": True, "success": True}}

No key of it is needed: clients that know nothing of it are recorded as the server's options say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from capture.errors import UserError
from capture.rollouts.call_masks import VALUES, CallMasks, read_masks

KEY: Final = "pi0-capture"
"""Key of these in a message, and of what an answer says about its recording."""
MASKS: Final = "masks"
MAX_SEED: Final = 2**62 - 1


@dataclass(frozen=True)
class RequestOptions:
    """What a client asks of the recording."""

    record: bool | None = None
    """Whether to record this call; None leaves it to the server's options."""
    new_episode: bool = False
    """Whether this observation is the first of an episode."""
    seed: int | None = None
    """Seed of this call's noise; None leaves it to the server's --seed."""
    end: bool = False
    """Whether the running episode has ended."""
    success: bool | None = None
    """Whether the episode that ends succeeded; None where the client does not say."""
    masks: CallMasks | None = None
    """Masks of objects in the pictures, by the client's names of the cameras or the policy's."""

    @property
    def ends_episode(self) -> bool:
        """Whether they end the episode that runs."""
        return self.end or self.success is not None


def parse_request_options(message: Mapping[str, Any]) -> tuple[RequestOptions, dict[str, Any]]:
    """Return the options in a message, and the message without them.

    Raises UserError for unknown keys and values, and for a message with an observation that also ends the episode.
    """
    rest = {key: value for key, value in message.items() if key != KEY}
    if KEY not in message:
        return RequestOptions(), rest
    stated = message[KEY]
    names = [*(field.name for field in fields(RequestOptions)), VALUES]
    if not isinstance(stated, Mapping):
        raise UserError(f"{KEY!r} in a message is a map with the keys {', '.join(names)}")
    found: dict[str, Any] = {}
    for name, value in stated.items():
        if name not in names:
            raise UserError(f"{KEY!r} in a message has the unknown key {str(name)[:40]!r}; it takes {', '.join(names)}")
        if name not in (MASKS, VALUES):
            found[name] = _read_seed(value) if name == "seed" else _read_truth(name, value)
    if stated.get(MASKS) is not None:
        found[MASKS] = read_masks(stated[MASKS], stated.get(VALUES))
    elif VALUES in stated:
        raise UserError(f"{VALUES} of {KEY!r} in a message says what the labels in {MASKS} are; send both")
    request_options = RequestOptions(**found)
    if rest and request_options.ends_episode:
        raise UserError(
            f"end and success of {KEY!r} go in a message of their own, after the episode's last observation: "
            f'policy.infer({{"{KEY}": {{"end": True, "success": True}}}})'
        )
    if not rest and not request_options.ends_episode:
        raise UserError(f"a message of {KEY!r} alone ends an episode; give it end or success, or send an observation")
    return request_options, rest


def _read_truth(name: str, value: object) -> bool | None:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if value is None and name in ("record", "success"):
        return None
    raise UserError(f"{name} of {KEY!r} in a message is true or false")


def _read_seed(value: object) -> int:
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value <= MAX_SEED:
        return int(value)
    raise UserError(f"seed of {KEY!r} in a message is a whole number from 0 to {MAX_SEED}")
