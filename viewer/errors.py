"""Errors that a user can correct, and errors of reading a damaged file."""

from typing import Final


class UserError(Exception):
    """Something that the user can correct; the text is a full sentence: what, where, what to do."""


READ_ERRORS: Final = (OSError, UserError, ValueError, IndexError, KeyError, RuntimeError)
"""What h5py and this package may raise where a part of a file is damaged; a panel then shows nothing."""
