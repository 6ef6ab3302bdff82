"""JSON files written by somebody else: every field is of the type asked for, or one sentence says what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import cast

from capture.errors import UserError

MAX_BYTES = 64 << 20
"""No JSON file of a checkpoint comes near this; orbax's lists of arrays are below 1 MB."""

LFS_POINTER = b"version https://git-lfs"
"""How a file begins that `git clone` left as a pointer, because Git LFS was not installed."""


@dataclass(frozen=True)
class JsonObject:
    """One object of a JSON file. A field that is absent or null reads as None."""

    values: Mapping[str, object]
    where: str
    """File, and the field inside it, for sentences."""

    def integer(self, key: str, *, least: int = 1, most: int = 1 << 20) -> int | None:
        """A whole number between `least` and `most`."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._wrong(key, f"a whole number from {least} to {most}")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of strings")
        return tuple(value)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A list of finite numbers."""
        value = self.values.get(key)
        if value is None:
            return None
        plain = isinstance(value, list) and all(type(item) in (int, float) for item in value)
        try:
            numbers = tuple(float(item) for item in cast(list[float], value)) if plain else ()
        except OverflowError:  # a whole number beyond 1e308
            plain, numbers = False, ()
        if not plain or not all(math.isfinite(item) for item in numbers):
            raise self._wrong(key, "a list of finite numbers")
        return numbers

    def section(self, key: str) -> JsonObject | None:
        """An object inside this one."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return JsonObject(value, f"{self.where}, {key!r}")

    def sections(self, key: str) -> tuple[JsonObject, ...] | None:
        """A list of objects."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, "a list of objects")
        return tuple(JsonObject(item, f"{self.where}, {key!r}[{index}]") for index, item in enumerate(value))

    def _wrong(self, key: str, wanted: str) -> UserError:
        shown = repr(self.values[key])
        shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
        return UserError(f"{key!r} in {self.where} is {shown}, but should be {wanted}; mend the file or fetch it again")


def read_json(path: Path) -> JsonObject:
    """The object that a JSON file holds. Raises UserError where the file cannot be read or holds anything else."""
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
    """The object that JSON text holds. Raises UserError for anything else."""
    try:
        # ValueError covers bad UTF-8, bad JSON and absurdly long numbers; deep nesting exhausts the parser's stack.
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}); mend it or fetch it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} holds {type(value).__name__} where a JSON object is needed; fetch it again")
    return JsonObject(value, where)


def is_safe_relative_path(name: str) -> bool:
    """Whether a file name found inside a file leads nowhere but into the folder that it is read from."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    anchored = posix.is_absolute() or windows.drive or windows.root
    return bool(name) and "\0" not in name and not anchored and ".." not in (*posix.parts, *windows.parts)
