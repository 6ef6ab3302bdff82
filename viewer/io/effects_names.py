"""Names of effects files beside results files. No Qt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard

from capture.results import effects_schema, schema

if TYPE_CHECKING:
    from capture.remote.address import Location

MOST_FILES: Final = 32
"""Effects files that are looked for beside one results file."""


def find_effects_files(results: Location) -> list[Path]:
    """Return the effects files beside a results file by their names: `duck.effects.h5`, `duck.1.effects.h5` and so on.

    The one to prefer comes first: the highest number, which is the latest, and last the plain name, which `pi0-capture
    effects` writes by default. At most MOST_FILES; none beside a file on another machine.
    """
    if not isinstance(results, Path) or not results.name:
        return []
    plain = results.with_name(f"{_stem(results)}{effects_schema.SUFFIX}")
    try:
        plain_files = [plain] if plain.is_file() else []
    except OSError:  # a name that no file can have; opening the results file says so
        return []
    numbered = (path for _, path in sorted(_find_numbered(results), reverse=True))
    return [*list(numbered)[: MOST_FILES - 1], *plain_files]


def find_numbered_path(results: Path) -> Path:
    """Return the first path beside a results file for another effects file: `duck.1.effects.h5`."""
    number = max((number for number, _ in _find_numbered(results)), default=0) + 1
    return results.with_name(f"{_stem(results)}.{number}{effects_schema.SUFFIX}")


def _find_numbered(results: Path) -> list[tuple[int, Path]]:
    stem, suffix, numbered = _stem(results), effects_schema.SUFFIX, []
    try:
        for entry in results.parent.iterdir():
            middle = entry.name.removeprefix(f"{stem}.").removesuffix(suffix)
            is_number = middle.isascii() and middle.isdigit() and len(middle) < 10
            if is_number and entry.name == f"{stem}.{middle}{suffix}":
                numbered.append((int(middle), entry))
    except OSError:
        return []
    return numbered


def _stem(results: Path) -> str:
    name = results.name.removesuffix(schema.PARTIAL_SUFFIX)
    return name.rpartition(".")[0] or name


def is_effects_name(path: Location) -> TypeGuard[Path]:
    """Return whether a path has the name of an effects file of this machine."""
    return isinstance(path, Path) and path.name.endswith(effects_schema.SUFFIX)


def find_results_file(effects: Path) -> Path | None:
    """Return the results file beside an effects file by its name: `duck.h5`; None where there is none."""
    stem = effects.name.removesuffix(effects_schema.SUFFIX)
    before, _, number = stem.rpartition(".")
    stems = [stem, *([before] if number.isascii() and number.isdigit() else [])]
    candidates = (effects.with_name(f"{stem}{end}") for stem in stems for end in (".h5", ".hdf5"))
    return next((path for path in candidates if path.is_file()), None)
