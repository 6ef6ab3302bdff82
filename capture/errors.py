"""The exception for errors that the user can correct."""


class UserError(Exception):
    """An error in the input, the options or the machine that the user can correct; never a bug in this program.

    Its text is one sentence: what is wrong, where, and what to do. The commands print it alone and exit with code 2.
    """
