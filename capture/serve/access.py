"""Who may use the policy server: by address, API key and origin."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Final

from capture.errors import UserError

HEADER: Final = "Authorization"
SCHEME: Final = "Api-Key"
"""How openpi's clients send a key: `Authorization: Api-Key KEY`."""


def check_address(host: str, *, has_key: bool, is_open: bool) -> None:
    """Raise UserError for an address that other machines reach, unless clients need a key or anyone is let in."""
    if has_key or is_open or is_loopback(host):
        return
    raise UserError(
        f"whoever reaches {host} could move the robot and fill the disk; give --api-key KEY, which clients then have "
        "to send, or say --allow-anyone, or leave --host out and use an ssh tunnel"
    )


def check_port(host: str, port: int) -> None:
    """Raise UserError for a port that cannot be listened on, before a policy is loaded in vain."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
            one.listen()
    except OSError as error:
        raise explain_port(host, port, error) from None


def explain_port(host: str, port: int, error: OSError) -> UserError:
    """Return the sentence for a port that cannot be listened on."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UserError(f"cannot listen on {host} port {port} ({reason}); choose another --port")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address. Raises UserError for a name that has no address."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host!r} is no address of this machine; leave it out for 127.0.0.1") from error
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in addresses)


def find_refusal(origins: Sequence[str], authorisations: Sequence[str], key: str | None) -> tuple[int, str] | None:
    """Return the HTTP status and the sentence with which a connection is refused; None to accept it.

    `origins`, `authorisations`: values of the headers `Origin` and `HEADER`; `key`: the one that is needed, if any.
    """
    if origins:
        # A page in a browser on this machine reaches 127.0.0.1 too, and browsers always say where it is from.
        return 403, "web pages are not served; connect with openpi's client\n"
    expected = f"{SCHEME} {key}".encode()
    if key is not None and not any(
        hmac.compare_digest(authorisation.encode(), expected) for authorisation in authorisations
    ):
        return 401, f"a key is needed: {HEADER}: {SCHEME} KEY (api_key=... of openpi's client)\n"
    return None
