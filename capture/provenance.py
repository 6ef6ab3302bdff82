"""Decisions about the input of the policy, with their reasons: what the results file's attribute `provenance` holds.

A decision is anything that could have been chosen otherwise and changes what the model sees or what its numbers mean:
which camera feeds which slot, whether pictures are turned, how states are normalised and by whose statistics, which
frames are left out. The run prints those that are not certain, `-v` and `--dry-run` print all, the file keeps all.

To add one, make a `Decision` where it is decided and hand it over:

* a reader of episodes in `Source.decisions` if it holds for all episodes (`map_keys` makes those about cameras, states
  and actions), else from `Episode.frame_decisions`, which is given the chosen frames;
* a checkpoint in `Settings.decisions`, which become `Checkpoint.decisions` and `PolicySpec.decisions`;
* the pipeline in `make_plan`, which merges them all (`pipeline/input_decisions.py`).

Subject and choice of a source's decisions, and of cameras that an episode shows in place of missing ones, are part of
what defines a run (`plan.Setup.run`): a run that decides otherwise does not continue a file. So `choice` holds no path
and nothing that differs between two runs of one command.

Only the standard library is imported, so that every layer of `capture` can use this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from capture.terminal_text import escape_control_characters

MAX_TEXT: Final = 400
"""Characters of a subject, choice or reason that are stored and read; longer text is cut."""
MAX_DECISIONS: Final = 200
"""Number of decisions that are stored and read."""
MAX_BYTES: Final = 48 << 10
"""Length of the JSON that is written and read; HDF5 keeps attributes below 64 KiB beside the object."""


@dataclass(frozen=True)
class Decision:
    """One choice about the input and what it was made by.

    Give the same question the same `subject` in all readers and checkpoints: "exterior camera" (of one episode:
    "exterior camera of NAME"), "turn of the pictures", "orientation of the exterior pictures", "state", "true actions",
    "clock", "frames", "state in the prompt", "time grid", "tokenizer", "processor steps". The preview finds cameras and
    turns by these names, and the console prints only the first few decisions about one subject.
    """

    subject: str
    """What was decided, as a noun phrase: "exterior camera"."""
    choice: str
    """The value taken: "exterior_image_1_left"."""
    reason: str
    """What decided it, as a phrase that reads well in brackets: "by --camera". Where `is_certain` is False it says how
    to choose otherwise: "the first of two cameras with known names; --camera exterior=NAME takes another"."""
    is_certain: bool
    """Whether a file, an option or the definition of the format decides; False where another choice would run too."""

    @property
    def label(self) -> str:
        """Whether it was "decided", by a file, an option or a definition, or only "assumed"."""
        return "decided" if self.is_certain else "assumed"

    @property
    def sentence(self) -> str:
        """One line for the user, with control characters escaped, since names come from files."""
        reason = f" ({self.reason})" if self.reason else ""
        return escape_control_characters(f"{self.subject}: {self.choice}{reason}")


def merge_decisions(*groups: Iterable[Decision]) -> tuple[Decision, ...]:
    """Return the distinct decisions of all groups in order of first appearance.

    Of two that differ in `is_certain` alone, the one that is not certain is kept.
    """
    certain: dict[tuple[str, str, str], bool] = {}
    for group in groups:
        for decision in group:
            key = decision.subject, decision.choice, decision.reason
            certain[key] = decision.is_certain and certain.get(key, True)
    return tuple(Decision(*key, is_certain) for key, is_certain in certain.items())


def to_json(decisions: Sequence[Decision]) -> str:
    """Return decisions as a JSON list of objects with the keys subject, choice, reason and certain, in ASCII.

    The result is at most `MAX_BYTES` long. What does not fit is left out, certain decisions first, and a last entry
    states how many; text over `MAX_TEXT` characters is cut.
    """
    ranked = sorted(range(len(decisions)), key=lambda number: decisions[number].is_certain)  # stable
    shortened: dict[int, str] = {}
    room = MAX_BYTES - 1000  # for the entry about what is left out
    for number in ranked[: MAX_DECISIONS - 1 if len(ranked) > MAX_DECISIONS else MAX_DECISIONS]:
        text = json.dumps(_to_object(decisions[number]))
        if len(text) + 2 > room:
            break
        room -= len(text) + 2
        shortened[number] = text
    texts = [shortened[number] for number in sorted(shortened)]
    left_out = [decisions[number] for number in range(len(decisions)) if number not in shortened]
    if left_out:
        is_certain = all(decision.is_certain for decision in left_out)
        further = Decision("further decisions", f"{len(left_out)} are not listed", "there are too many", is_certain)
        texts.append(json.dumps(_to_object(further)))
    return "[" + ", ".join(texts) + "]"


def from_json(text: str) -> tuple[Decision, ...]:
    """Return the decisions of `to_json`; entries that are malformed, or beyond the limits, are left out.

    Raises ValueError where the text is too long or no JSON list.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"the list of decisions is longer than {MAX_BYTES} bytes")
    try:
        entries = json.loads(text)
    except RecursionError as error:
        raise ValueError("the list of decisions is nested too deeply") from error
    if not isinstance(entries, list):
        raise ValueError(f"the decisions are {type(entries).__name__} instead of a list")  # noqa: TRY004 - of the text
    decisions = (_from_object(entry) for entry in entries[:MAX_DECISIONS])
    return tuple(decision for decision in decisions if decision is not None)


def _to_object(decision: Decision) -> dict[str, object]:
    return {
        "subject": _cut(decision.subject),
        "choice": _cut(decision.choice),
        "reason": _cut(decision.reason),
        "certain": decision.is_certain,
    }


def _from_object(entry: object) -> Decision | None:
    if not isinstance(entry, dict):
        return None
    subject, choice, reason = (entry.get(key) for key in ("subject", "choice", "reason"))
    is_certain = entry.get("certain")
    if not (isinstance(subject, str) and isinstance(choice, str) and isinstance(reason, str)):
        return None
    if not isinstance(is_certain, bool):
        return None
    return Decision(_cut(subject), _cut(choice), _cut(reason), is_certain)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
