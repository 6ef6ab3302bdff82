"""Checked reading of JSON files from other programs: a field of another type raises one sentence.

Not msgspec: its errors state the type and the place of a wrong field, but not the value that was found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from capture.errors import UserError

T = TypeVar("T")

MAX_BYTES = 64 << 20
"""Limit of a JSON file in bytes; the largest known ones, orbax's lists of arrays, are below 1 MB."""

LFS_POINTER = b"version https://git-lfs"
"""Start of the pointer that `git clone` without Git LFS leaves instead of a file."""


@dataclass(frozen=True)
class JsonObject:
    """One object of a JSON file, with checked access to its fields.

    A field that is absent or null reads as None. Every method raises UserError for a field of another type.
    """

    values: Mapping[str, object]
    where: str
    """File, and the field inside it, for error messages."""

    def integer(self, key: str, *, least: int = 1, most: int = 1 << 20) -> int | None:
        """Return an integer from `least` to `most`."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._error(key, f"a whole number from {least} to {most}")
        return value

    def flag(self, key: str) -> bool | None:
        """Return a boolean."""
        return self._get(key, bool, "true or false")

    def text(self, key: str) -> str | None:
        """Return a string."""
        return self._get(key, str, "a string")

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of strings."""
        values = self._get_list(key, str, "a list of strings")
        return None if values is None else tuple(values)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Return a list of finite numbers."""
        values = self._get(key, list, "a list of finite numbers")
        if values is None:
            return None
        try:
            numbers = tuple(float(value) if type(value) in (int, float) else math.nan for value in values)
        except OverflowError:  # an integer beyond 1e308
            numbers = (math.inf,)
        if not all(math.isfinite(number) for number in numbers):
            raise self._error(key, "a list of finite numbers")
        return numbers

    def section(self, key: str) -> JsonObject | None:
        """Return an object inside this one."""
        value = self._get(key, dict, "an object")
        return None if value is None else JsonObject(value, f"{self.where}, {key!r}")

    def sections(self, key: str) -> tuple[JsonObject, ...] | None:
        """Return a list of objects."""
        values = self._get_list(key, dict, "a list of objects")
        if values is None:
            return None
        return tuple(JsonObject(value, f"{self.where}, {key!r}[{index}]") for index, value in enumerate(values))

    def _get(self, key: str, kind: type[T], expected: str) -> T | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, kind):
            raise self._error(key, expected)
        return value

    def _get_list(self, key: str, kind: type[T], expected: str) -> list[T] | None:
        values = self._get(key, list, expected)
        if values is not None and not all(isinstance(value, kind) for value in values):
            raise self._error(key, expected)
        return values

    def _error(self, key: str, expected: str) -> UserError:
        shown = repr(self.values[key])
        shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
        return UserError(
            f"{key!r} in {self.where} is {shown}, but should be {expected}; mend the file or fetch it again"
        )


def read_json(path: Path) -> JsonObject:
    """Read the object in a JSON file. Raises UserError where the file cannot be read or holds anything else."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if content.startswith(LFS_POINTER):
        raise UserError(f"{path} is only a Git LFS pointer; run `git lfs pull` in its folder to fetch the file itself")
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB, so it is not the JSON file it should be")
    return parse_json(content, str(path))


def parse_json(content: bytes, where: str) -> JsonObject:
    """Parse the object in JSON text. Raises UserError for anything else."""
    try:
        # ValueError: invalid UTF-8 or JSON, or too long a number. RecursionError: too deep nesting.
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}); mend it or fetch it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} holds {type(value).__name__} where a JSON object is needed; fetch it again")
    return JsonObject(value, where)


def is_safe_relative_path(name: str) -> bool:
    """Return whether a relative path from a file stays inside the folder that it is relative to."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    anchored = posix.is_absolute() or windows.drive or windows.root
    return bool(name) and "\0" not in name and not anchored and ".." not in (*posix.parts, *windows.parts)
