"""Text from files and users for one terminal: nothing in it may steer the terminal. Standard library only."""

from __future__ import annotations


def replace_control_characters(text: str, keep: str = "") -> str:
    """Return `text` with a dot for each character that is not printable, but for those in `keep`.

    Lone surrogates stay: they stand for bytes of file names that are no UTF-8, and streams write them as escapes.
    """
    return "".join(
        character if character.isprintable() or character in keep or "\ud800" <= character <= "\udfff" else "·"
        for character in text
    )


def escape_control_characters(text: str) -> str:
    """Return `text` with everything that is not printable, line breaks and directional marks included, as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
