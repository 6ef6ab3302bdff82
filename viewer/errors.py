"""The error type for mistakes that a user can correct, and the errors of reading a damaged file."""

from typing import Final


class UserError(Exception):
    """An error that the user can correct; its message is a full sentence: what, where, what to do."""


READ_ERRORS: Final = (OSError, UserError, ValueError, IndexError, KeyError, RuntimeError)
"""Exceptions that h5py and this package may raise for a damaged part of a file; a panel then shows nothing."""


def split_library_words(sentence: str) -> tuple[str, str]:
    """Return a sentence without what HDF5 says about the file, and that: empty if it is not quoted."""
    for opening, closing in ((" (HDF5 says “", "”)"), (": HDF5 says “", "”")):
        start, mark, rest = sentence.partition(opening)
        words, end, after = rest.rpartition(closing)
        if mark and end:
            return start + after, words
    return sentence, ""
