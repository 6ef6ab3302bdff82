"""Files on the command line: paths of this machine and addresses. No Qt."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from capture.errors import UserError as CaptureError
from capture.remote.address import is_address, parse_location
from viewer.errors import UserError

if TYPE_CHECKING:
    from capture.remote.address import Location

__all__ = ["file_location", "is_address", "locate"]


def locate(text: str) -> Location:
    """Return the path or address in a text. UserError for an address that cannot be used."""
    try:
        return parse_location(text)
    except CaptureError as error:
        raise UserError(str(error)) from None


def file_location(text: str) -> Location:
    """Return the path or address of an argument; for argparse."""
    try:
        return parse_location(text)
    except CaptureError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
