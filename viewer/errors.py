"""The error type for mistakes that a user can correct, and the errors of reading a damaged file."""

from typing import Final


class UserError(Exception):
    """An error that the user can correct; its message is a full sentence: what, where, what to do."""


READ_ERRORS: Final = (OSError, UserError, ValueError, IndexError, KeyError, RuntimeError)
"""Exceptions that h5py and this package may raise for a damaged part of a file; a panel then shows nothing."""
