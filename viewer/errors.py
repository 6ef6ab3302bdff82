"""The one exception for what a user can mend: its text is a full sentence (what, where, what to do)."""


class UserError(Exception):
    """Something in a file or an option that the user can change; the window shows it as a page or a notice."""
