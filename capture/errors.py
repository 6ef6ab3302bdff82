"""The one exception for what a user can mend: its text is a full sentence (what, where, what to do)."""


class UserError(Exception):
    """Something in the input, the options or the machine that the user can change; never a fault of ours.

    The command line prints the sentence alone and exits with code 2.
    """
