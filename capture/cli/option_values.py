"""Values of `--state`: numbers with commas, blanks or brackets, or a .npy or .json file that holds them."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ENDINGS: Final = (".npy", ".json")
_NUMBERS: Final = re.compile(r"[\s\[\](),]*[-+]?[.\d][-+.\d\seE\[\](),]*|[\s\[\](),]+")
_LIMIT: Final = 4096
"""Most numbers of a state; more is a whole episode or a picture."""


def looks_like_numbers(text: str) -> bool:
    """Return whether an argument of the command line continues a list of numbers."""
    return _NUMBERS.fullmatch(text) is not None


def parse_state(text: str) -> tuple[float, ...]:
    """Return the numbers of `text`, or those in the .npy or .json file that it names.

    Raises argparse.ArgumentTypeError for anything else.
    """
    path = Path(text)
    values = _read_file(path) if path.suffix.lower() in _ENDINGS else _split(text)
    if not 1 <= len(values) <= _LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r} holds {len(values)} numbers where one state is needed")
    if not all(math.isfinite(value) for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} has a number that is not finite")
    return values


def _split(text: str) -> tuple[float, ...]:
    if text.count("[") != text.count("]") or text.count("(") != text.count(")"):
        raise argparse.ArgumentTypeError(f"{text!r} has a bracket that is not closed; leave the brackets out")
    plain = re.sub(r"[\[\]()]", " ", text)
    try:
        return tuple(float(part) for part in (plain.split(",") if "," in plain else plain.split()))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 0.1,-0.4,0.0, nor a .npy or .json file"
        ) from None


def _read_file(path: Path) -> tuple[float, ...]:
    import numpy as np

    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
            if array.dtype.kind not in "fiu":
                raise argparse.ArgumentTypeError(f"{path} holds {array.dtype} values; a state is made of numbers")
            return tuple(array.astype(np.float64).ravel().tolist())
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, EOFError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise argparse.ArgumentTypeError(f"{path} cannot be read as a state ({reason})") from None
    try:
        return tuple(_flatten(content.get("state") if isinstance(content, dict) else content))
    except (TypeError, RecursionError):
        raise argparse.ArgumentTypeError(f'{path} holds no list of numbers, nor {{"state": [0.1, -0.4]}}') from None


def _flatten(values: object) -> Iterator[float]:
    """Yield the numbers in nested lists. Raises TypeError for anything else."""
    if not isinstance(values, list):
        raise TypeError
    for value in values:
        if isinstance(value, list):
            yield from _flatten(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield float(value)
        else:
            raise TypeError
