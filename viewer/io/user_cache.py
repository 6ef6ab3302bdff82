"""The folder of this user's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def find_user_cache(name: str) -> Path:
    """Return the folder of a name in this project's part of the user's cache; it need not exist."""
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "pi0-attention" / "Cache" / name
    if sys.platform == "darwin":
        return Path("~/Library/Caches/pi0-attention").expanduser() / name
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "pi0-attention" / name
