"""The object that a prompt names, which `{object}` stands for in --words and --region. No Qt."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from viewer.errors import MissingWordError, UserError
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PLACEHOLDER: Final = "{object}"
MAX_BYTES: Final = 10 << 20


@dataclass(frozen=True)
class NamedObjects:
    """Finds the object that a prompt names."""

    by_prompt: Mapping[str, str] = field(default_factory=dict)
    """Prompt, in any case -> words of it."""
    regions: tuple[str, ...] = ()
    """Names of regions; the first one in a prompt is its object where `by_prompt` lacks it."""

    def find(self, prompt: str) -> str:
        """Return the object of a prompt.

        Raises:
            MissingWordError: The prompt names none that is known.
        """
        stored = self.by_prompt.get(prompt.strip().casefold())
        if stored is not None:
            return stored
        places = {}
        for name in self.regions:
            match = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prompt, re.IGNORECASE)
            if match is not None:
                places[name] = match.start(), -len(name)
        if places:
            return min(places, key=lambda name: places[name])
        raise MissingWordError(
            f"Which object “{clean_text(prompt)[:80]}” names is not known; add it to a file for --objects: "
            '{"pick up the duck": "duck"}.'
        )

    def fill(self, text: str, prompt: str) -> str:
        """Return `text` with the object of a prompt in place of `{object}`; MissingWordError as `find`."""
        return text.replace(PLACEHOLDER, self.find(prompt)) if PLACEHOLDER in text else text


def read_objects(path: Path | None, regions: Sequence[str] = ()) -> NamedObjects:
    """Return the objects of a JSON or YAML file that maps prompts to words, besides names of regions.

    Raises:
        UserError: The file cannot be read or is of another form, or YAML cannot be read for want of pyyaml.
    """
    if path is None:
        return NamedObjects(regions=tuple(regions))
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} has more than {MAX_BYTES >> 20} MB; it maps prompts to words.")
        content = _parse(path, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the path.") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())[:120]}).") from None
    if not isinstance(content, dict) or not all(isinstance(text, str) for pair in content.items() for text in pair):
        raise UserError(f'{path} does not map prompts to words; write {{"pick up the duck": "duck"}}.')
    return NamedObjects({prompt.strip().casefold(): words for prompt, words in content.items()}, tuple(regions))


def _parse(path: Path, text: str) -> Any:
    if path.suffix not in {".yaml", ".yml"}:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    try:
        import yaml
    except ImportError:
        raise UserError("YAML needs pyyaml: pip install pyyaml (or write the file as JSON)") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None


def digest_objects(path: Path | None) -> str:
    """Return the digest of a file of objects, empty without one.

    Raises:
        UserError: The file cannot be read, or is too large to be one.
    """
    if path is None:
        return ""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} has more than {MAX_BYTES >> 20} MB; it maps prompts to words.")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the path.") from None
