"""Where a webhook may point: public addresses over https, and nothing of the portal's own network.

A name is looked up once, every address it has is checked, and the connection goes to an address that was checked: a
name that changes between the check and the connection changes nothing (DNS rebinding). IPv6 addresses that carry an
IPv4 one (mapped, 6to4, Teredo, NAT64) are refused, for what they carry could be anything.

FOURFOLD_WEBHOOKS_LOOPBACK, for development, allows http and loopback; other private addresses stay refused.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

LONGEST = 500
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
# Beyond what Python's tables call private: IPv4 of protocols and relays; IPv6 that is not plain global unicast.
_PROTOCOLS = [ipaddress.ip_network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "2002::/16", "2001::/23")]
_UNICAST = ipaddress.ip_network("2000::/3")


class AddressRefused(Exception):
    """A webhook may not point there."""

    code = "address_refused"


class NoSuchHost(Exception):
    """The name has no address now."""

    code = "no_such_host"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A URL that a webhook may have, taken apart. `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """The parts of `url`. Raises AddressRefused, saying what is wrong."""
    if len(url) > LONGEST or not _PRINTABLE.fullmatch(url):
        raise AddressRefused(f"a URL has at most {LONGEST} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("this is no URL") from None
    schemes = ("https", "http") if settings.FOURFOLD_WEBHOOKS_LOOPBACK else ("https",)
    if parts.scheme not in schemes:
        raise AddressRefused("the URL begins with https://")
    if parts.username is not None or parts.password is not None or parts.fragment or "\\" in url:
        raise AddressRefused("the URL has neither a user name nor a fragment nor a backslash")
    host = parts.hostname or ""
    if not host or port == 0:
        raise AddressRefused("the URL names a host and a port")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass  # a name: checked whenever it is looked up
    else:
        check(literal)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        scheme=parts.scheme, host=host, port=port or (443 if parts.scheme == "https" else 80), path=path
    )


def resolve(target: Target) -> list[str]:
    """The addresses of the target's host, each of which is allowed.

    Raises  AddressRefused if one is not; NoSuchHost.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NoSuchHost("the host has no address") from None
    listed = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in listed:
        try:
            check(ipaddress.ip_address(address))
        except ValueError:
            raise AddressRefused("the host has an address of an unknown kind") from None
    if not listed:
        raise NoSuchHost("the host has no address")
    return listed


def check(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Raises AddressRefused unless `address` belongs to a machine on the public internet."""
    if settings.FOURFOLD_WEBHOOKS_LOOPBACK and address in _loopback(address):
        return
    inside = not address.is_global or address.is_multicast or any(address in net for net in _PROTOCOLS)
    if inside or (address.version == 6 and (address.scope_id or address not in _UNICAST)):
        raise AddressRefused("a webhook points to a public address")


def _loopback(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network("127.0.0.0/8" if address.version == 4 else "::1/128")
