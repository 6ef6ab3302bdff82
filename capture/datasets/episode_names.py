"""Names of episodes that are fit for file names, and differ."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 120
"""Characters of a name, so that an ending and a folder still fit what file systems take."""


def file_names(names: Sequence[str]) -> list[str]:
    """The names with letters, digits and `+-_.` alone; where two become the same, they get a number."""
    taken: set[str] = set()
    result = []
    for name in names:
        plain = re.sub(r"[^\w+.-]+", "_", name, flags=re.ASCII).strip("._")[:LONGEST] or "episode"
        unique, number = plain, 2
        while unique.lower() in taken:  # file systems may not tell case apart
            unique, number = f"{plain}_{number}", number + 1
        taken.add(unique.lower())
        result.append(unique)
    return result
