"""To which addresses a visitor may have something sent: public ones over HTTP, and the demo's own receivers.

Whoever may name an address has this server ask for it, from within its network. So what a name resolves to is looked
at, and the connection goes to just that: a second look could find something else.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

SCHEMES = {"http": 80, "https": 443}
LONGEST = 500


class BadAddress(Exception):
    """Nothing is sent there; the message is meant for whoever named it."""


def split(url: str) -> SplitResult:
    """Return the parts of an address; raises BadAddress for one that nothing is sent to, whatever it resolves to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddress("This is no address.") from None
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise BadAddress("This is no address, or it is too long.")
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0:
        raise BadAddress("An address begins with http:// or https:// and a host.")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("An address has no name and no password in it.")
    if len(parts.hostname) > 200:
        raise BadAddress("The host's name is too long.")
    return parts


def host_of(url: str) -> str:
    """Return the host of an address, with its port: what is asked not too often. Raises BadAddress."""
    parts = split(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return f"{host}:{port_of(parts)}"


def port_of(parts: SplitResult) -> int:
    """Return the port of an address."""
    return parts.port or SCHEMES[parts.scheme]


def connected(url: str, timeout: float) -> socket.socket:
    """Return a connection to the host of an address; raises BadAddress where it is in no public network."""
    parts = split(url)
    is_ours = host_of(url) in {host_of(ours) for ours in settings.WEBHOOK_RECEIVERS}
    try:
        found = socket.getaddrinfo(parts.hostname, port_of(parts), type=socket.SOCK_STREAM)
    except UnicodeError:
        raise BadAddress("This is no name of a host.") from None
    places = [str(address[0]) for *_, address in found]
    if not is_ours and not all(map(_is_public, places)):
        raise BadAddress("This host is in no public network.")
    for place in places[:-1]:
        with suppress(OSError):
            return socket.create_connection((place, port_of(parts)), timeout)
    return socket.create_connection((places[-1], port_of(parts)), timeout)


def _is_public(place: str) -> bool:
    address = ip_address(place.partition("%")[0])
    return address.is_global and not address.is_multicast
