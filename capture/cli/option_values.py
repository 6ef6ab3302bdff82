"""Values of the options of pi0-capture, from their text; argparse reports what these functions refuse.

A state is numbers with commas, blanks or brackets, or a .npy or .json file that holds them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from capture.number_ranges import parse_ranges
from capture.results.scores_schema import parse_keep

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
    unbracketed = re.sub(r"[\[\]()]", " ", text)
    try:
        return tuple(float(part) for part in (unbracketed.split(",") if "," in unbracketed else unbracketed.split()))
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


def parse_numbers(text: str, largest: int = 9_999) -> tuple[int, ...]:
    """Return the numbers of a list in rising order, each once: (4, 10, 15, 16, 17) for `4,10,15-17`."""
    ranges = parse_ranges(text)
    if ranges is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 4,10,15-17")
    chosen: set[int] = set()
    for first, last in ranges:
        start, stop = parse_whole_number(str(first), 0, largest), parse_whole_number(str(last), 0, largest)
        if stop < start:
            raise argparse.ArgumentTypeError(f"'{first}-{last}' is not a range of numbers that rises")
        chosen.update(range(start, stop + 1))
    return tuple(sorted(chosen))


def parse_seconds(text: str) -> float:
    """Return a number of seconds above 0 and below an hour."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds such as 0.001")
    return number


def parse_relative_actions(text: str) -> tuple[bool, ...]:
    """Return a mask of relative dimensions: of `6,-1,6,-1` six are, one is not, and so on; it is empty for `none`."""
    if text == "none":
        return ()
    counts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"-?[0-9]{1,2}", part) for part in counts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither none nor a list of counts such as 7,-1")
    return tuple(int(part) > 0 for part in counts for _ in range(abs(int(part))))


def parse_alpha(text: str) -> float:
    """Return a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def parse_kept_maps(text: str) -> int:
    """Return `maps_every` of `maps`, `summaries` or `maps::N`."""
    try:
        return parse_keep(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_region_names(text: str) -> dict[int, str]:
    """Return label -> region of `3=duck,5=bowl`."""
    names: dict[int, str] = {}
    for part in text.split(","):
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not label.isdecimal() or len(label) > 9 or not int(label) or not _is_name(name):
            raise argparse.ArgumentTypeError(f"{text[:60]!r} is not labels above 0 and names, such as 3=duck,5=bowl")
        names[int(label)] = name
    return names


def _is_name(name: str) -> bool:
    from capture.results.regions_schema import is_name  # it takes numpy, which -h needs not

    return is_name(name)


def parse_camera(text: str) -> tuple[str, str]:
    """Return name and source of `exterior=ext2`."""
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, such as exterior=ext.png")
    return name, file


def parse_names(text: str) -> tuple[str, ...]:
    """Return names that commas separate."""
    return tuple(name.strip() for name in text.split(","))


def parse_episodes(text: str) -> tuple[int, ...]:
    """Return episode numbers in rising order."""
    return parse_numbers(text, 999_999)


def parse_batch(text: str) -> int:
    """Return the number of frames to run at once."""
    return parse_whole_number(text, 1, 1_024)


def parse_workers(text: str) -> int:
    """Return the number of pairs of reader and writer processes."""
    return parse_whole_number(text, 0, 64)


def parse_size(text: str) -> int:
    """Return a size of the policy."""
    return parse_whole_number(text, 1, 10_000)


def parse_seed(text: str) -> int:
    """Return the seed of the noise."""
    return parse_whole_number(text, 0, 2**62 - 1)


def parse_whole_number(text: str, smallest: int, largest: int) -> int:
    """Return a whole number from `smallest` to `largest`. Raises ArgumentTypeError for any other text."""
    # Python refuses to read numbers of thousands of digits, so their length is looked at first.
    if not text.isdecimal() or len(text) > 100 or not smallest <= int(text) <= largest:
        shown = text if len(text) <= 30 else text[:30] + "…"
        raise argparse.ArgumentTypeError(f"{shown!r} is not a whole number from {smallest} to {largest}")
    return int(text)
