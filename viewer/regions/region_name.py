"""Names that regions can have."""

from __future__ import annotations

from capture.results.regions_schema import MAX_NAME, is_name
from viewer.errors import UserError


def check_name(name: str) -> None:
    """Raise UserError for a name that a region cannot have: it names a group of the file and a folder of masks."""
    if not is_name(name):
        raise UserError(
            f"A region cannot be called “{name[:MAX_NAME]}”; take a name of at most {MAX_NAME} characters "
            "without slashes, colons and equals signs."
        )
