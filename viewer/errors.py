"""The error type for mistakes that a user can correct, and the errors of reading a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class UserError(Exception):
    """An error that the user can correct; its message is a full sentence: what, where, what to do."""


class NotWrittenError(UserError):
    """A file cannot be written, as on a full disk; nothing is wrong with what was read."""


class MissingWordError(UserError):
    """The prompt of a frame lacks a word."""


class NoEffectsError(UserError):
    """Nothing was measured on the frames that are asked for, and nothing is wrong with the file."""


class NoMapsError(UserError):
    """The attention maps of a frame were not kept: it has summaries alone, and nothing is wrong with the file."""


class MeanNeedsMapsError(NoMapsError):
    """A score of the mean of several maps, in a frame of which only the scores of each were kept."""


class ConnectionLostError(UserError):
    """A file cannot be reached at the moment, and may be again."""


class NotLoadedError(Exception):
    """A part of a slow file is not in memory, and this thread must not wait for it.

    None of READ_ERRORS: nothing is wrong with the file.
    """

    def __init__(self, read: Callable[[], Any]) -> None:
        super().__init__("not loaded yet")
        self.read = read
        """Reads the part into memory; for another thread."""


class GivenUpError(Exception):
    """A read was given up, as its result is no longer wanted."""


READ_ERRORS: Final = (OSError, UserError, ValueError, IndexError, KeyError, RuntimeError)
"""Exceptions that h5py and this package may raise for a damaged part of a file; a panel then shows nothing."""


def split_library_words(sentence: str) -> tuple[str, str]:
    """Return a sentence without HDF5's message about the file, and that message: empty if it is not quoted."""
    for opening, closing in ((" (HDF5 says “", "”)"), (": HDF5 says “", "”")):
        start, mark, remainder = sentence.partition(opening)
        words, end, after = remainder.rpartition(closing)
        if mark and end:
            return start + after, words
    return sentence, ""


def describe_unreadable_frame(error: Exception) -> str:
    """Return that a frame cannot be read, with the reason that this package gives, and without HDF5's words."""
    if isinstance(error, NoMapsError):
        return str(error)
    if isinstance(error, UserError):
        return f"This frame cannot be read ({split_library_words(' '.join(str(error).split()))[0].rstrip('.')[:160]})."
    return "This frame cannot be read: its part of the file is damaged. The other frames may be whole."
