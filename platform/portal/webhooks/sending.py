"""One POST to somebody else's server, of which nothing is believed and nothing but a status is read.

No redirects, no proxies of the environment, no body of the answer; everything within PATIENCE seconds, however
slowly the other side says it. HTTP is written here by hand because a client library would look the name up again.
"""

import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing

from portal.webhooks import addresses
from portal.webhooks.addresses import AddressRefused, NoSuchHost, Target

PATIENCE = 5.0  # seconds, from the first packet to the status
LONGEST_STATUS = 1024  # bytes
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")


class NotDelivered(Exception):
    """The other side did not say 2xx in time."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status, from 200 to 299.

    Raises  NotDelivered with a code: address_refused, no_such_host, connect, tls, timeout, no_http, status_NNN.
    """
    deadline = time.monotonic() + PATIENCE
    try:
        target = addresses.parse(url)
        where = addresses.resolve(target)
        with closing(_connected(target, where, deadline)) as link:
            link.settimeout(_left(deadline))
            link.sendall(_request(target, body, headers))
            status = _status(link, deadline)
    except (AddressRefused, NoSuchHost) as refused:
        raise NotDelivered(refused.code) from None
    except TimeoutError:
        raise NotDelivered("timeout") from None
    except ssl.SSLError:
        raise NotDelivered("tls") from None
    except OSError:
        raise NotDelivered("connect") from None
    if not 200 <= status < 300:
        raise NotDelivered(f"status_{status}")
    return status


def _connected(target: Target, where: list[str], deadline: float) -> socket.socket:
    link = _first(target, where, deadline)
    if target.scheme == "http":
        return link
    try:
        link.settimeout(_left(deadline))
        return ssl.create_default_context().wrap_socket(link, server_hostname=target.host)
    except BaseException:
        link.close()
        raise


def _first(target: Target, where: list[str], deadline: float) -> socket.socket:
    """A connection to the first of the checked addresses that answers."""
    for position, address in enumerate(where, start=1):
        try:
            # A numeric address: nothing is looked up any more.
            return socket.create_connection((address, target.port), timeout=_left(deadline) / 2)
        except OSError:
            if position == len(where):
                raise
    raise AssertionError("unreachable: resolve returns an address")


def _request(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = {
        "Host": target.authority,
        "User-Agent": "Fourfold",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = f"POST {target.path} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in lines.items()
    )
    return head.encode("ascii") + b"\r\n" + body


def _status(link: socket.socket, deadline: float) -> int:
    said = b""
    while b"\n" not in said:
        link.settimeout(_left(deadline))
        piece = link.recv(LONGEST_STATUS - len(said))
        said += piece
        if not piece or len(said) >= LONGEST_STATUS:
            break
    match = _STATUS.match(said)
    if match is None:
        raise NotDelivered("no_http")
    return int(match[1])


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
