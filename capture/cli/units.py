"""Formatting of bytes and seconds for people."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """Format a number of bytes: 43200000 as `43.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def format_seconds(seconds: float) -> str:
    """Format a duration in seconds: 8040 as `2 h 14 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
