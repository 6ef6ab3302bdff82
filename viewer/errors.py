"""The one exception for what a user can mend: its text is a full sentence (what, where, what to do)."""


class UserError(Exception):
    """Something in a file or an option that the user can change; the window shows it as a page or a notice."""


READS = (OSError, UserError, ValueError, IndexError, KeyError, RuntimeError)
"""What reading a damaged part of a file may raise; a panel then shows nothing rather than something wrong."""
