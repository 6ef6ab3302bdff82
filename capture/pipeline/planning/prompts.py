"""Prompts that a frame is run with: the episode's own task, or others instead (counterfactuals).

A prompts file (`--prompts FILE.yaml`, or `.json`) is either a list, which applies to every frame, or a mapping from a
task of the source to a list, with `"*"` for tasks that are not named:

    - "{task}"                          # the frame's own task
    - "{task} slowly"
    - put the mug in the bowl

    put the duck in the bowl:
      - put the duck in the bowl
      - put the mug in the bowl
    "*": ["{task}"]
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from capture.errors import UserError

TASK_PLACEHOLDER: Final = "{task}"
OTHER_TASKS: Final = "*"
_LARGEST: Final = 1 << 20


@dataclass(frozen=True)
class Prompts:
    """Replacements of a frame's own task; with both fields empty, the task itself is the prompt."""

    always: tuple[str, ...] = ()
    by_task: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, task: str) -> tuple[str, ...]:
        """Return the prompts of a frame whose own task is `task` (blank if it has none), without duplicates.

        Raises UserError if there are none.
        """
        chosen = self.always or (TASK_PLACEHOLDER,)
        if self.by_task:
            prompts = self.by_task.get(task.strip(), self.by_task.get(OTHER_TASKS))
            if prompts is None:
                raise UserError(
                    f'the file of prompts has none for the task {task!r}; add it, or "{OTHER_TASKS}" for all others'
                )
            chosen = prompts
        if not is_task(task) and any(TASK_PLACEHOLDER in prompt for prompt in chosen):
            raise UserError('the source names no task; give one with --prompt "put the duck in the bowl"')
        return tuple(dict.fromkeys(prompt.replace(TASK_PLACEHOLDER, task) for prompt in chosen))


def is_task(text: str) -> bool:
    """Return whether a source's text names a task; an empty or blank one does not."""
    return bool(text.strip())


OWN_PROMPT: Final = Prompts()
"""Every frame is run with its own task."""


def read_prompts(path: Path) -> Prompts:
    """Read the prompts in a YAML or JSON file. Raises UserError for anything else."""
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} is too large for a file of prompts")
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"the file of prompts {path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from None
    loaded = _parse(path, content)
    if isinstance(loaded, Mapping) and loaded:
        by_task = {_text(path, task).strip(): _list(path, prompts) for task, prompts in loaded.items()}
        return Prompts(by_task=by_task)
    return Prompts(always=_list(path, loaded))


def _parse(path: Path, content: bytes) -> Any:
    """Return what JSON or YAML text holds. JSON is tried first: YAML reads its surrogate pairs as two halves."""
    import yaml

    try:
        return json.loads(content.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError) as error:
        if path.suffix.lower() == ".json":
            raise UserError(f"{path} cannot be read as JSON: {error}") from None
    try:
        return yaml.safe_load(content)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or getattr(error, "strerror", None) or error).split())
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} cannot be read as YAML{where}: {reason}") from None


def _list(path: Path, loaded: object) -> tuple[str, ...]:
    if isinstance(loaded, str) or not isinstance(loaded, Sequence) or not loaded:
        raise UserError(f"{path} holds no prompts; write a list of texts, or a mapping from tasks to such lists")
    return tuple(_text(path, prompt) for prompt in loaded)


def _text(path: Path, loaded: object) -> str:
    if not isinstance(loaded, str):
        raise UserError(f"{path} holds {loaded!r} where a text should be; put it in quotes")
    try:
        # YAML keeps the two halves of an escaped character beyond U+FFFF apart; JSON and UTF-16 mean one character.
        return loaded.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise UserError(f"{path} holds {loaded!r}, with half of a surrogate pair; mend that character") from None
