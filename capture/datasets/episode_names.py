"""Unique episode names that are valid file names."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_LENGTH = 120
"""Limit of a name in characters, which leaves room for endings in a file name of 255 bytes."""


def file_names(names: Sequence[str]) -> list[str]:
    """Return the names reduced to letters, digits and `+-_.`, with a number where two would be the same."""
    taken: set[str] = set()
    result = []
    for name in names:
        plain = re.sub(r"[^\w+.-]+", "_", name, flags=re.ASCII).strip("._")[:MAX_LENGTH] or "episode"
        unique, number = plain, 2
        while unique.lower() in taken:  # some file systems ignore case
            unique, number = f"{plain}_{number}", number + 1
        taken.add(unique.lower())
        result.append(unique)
    return result
