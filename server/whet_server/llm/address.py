"""Which URLs an endpoint may have: where a key may be sent, and what this server may be made to call."""

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

from whet_server.errors import InvalidField

MAX_URL: Final = 1000
MAX_TARGET: Final = 2000
"""Of a webhook, as the contract says."""
_KNOWN_URLS: Final = 1024
"""URLs of which it is remembered whether they are near: every call asks."""
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def checked_url(url: str, *, field: str, plain_http: bool = False) -> str:
    """Return the base URL without a slash at its end. Raises `InvalidField` for what is no safe base URL.

    Plain http shows the key to everybody on the way: it is for this machine and private networks, or for those who
    say `plain_http`.
    """
    return url.rstrip("/") if not _checked(url, field, MAX_URL, plain_http=plain_http).query else url


def checked_target(url: str, *, field: str) -> str:
    """Return a webhook's URL as it is. Raises `InvalidField` for one that nothing should be sent to. It may have a
    query of its own.
    """
    _checked(url, field, MAX_TARGET, any_query=True)
    return url


def may_answer(address: str, *, near: bool) -> bool:
    """Whether a name may stand for this address; `near`: only one of this machine or a private network, as plain http
    wants. What a name stands for can change after the URL was checked.
    """
    found = _address(address)
    return found is not None and not _is_apart(found) and (not near or found.is_loopback or found.is_private)


def _checked(url: str, field: str, longest: int, *, plain_http: bool = False, any_query: bool = False) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise InvalidField((field, f"this is no URL: {error}")) from None
    shape = parts._replace(query="") if any_query else parts
    if len(url) > longest:
        raise InvalidField((field, f"give at most {longest} characters"))
    if wrong := _wrong(url, shape, host, port) or _exposed(parts, host, plain_http=plain_http):
        raise InvalidField((field, wrong))
    return parts


def _wrong(url: str, parts: SplitResult, host: str, port: int | None) -> str:
    """Return what is wrong with the form of the URL."""
    checks = (
        (
            not url.isascii() or not url.isprintable() or " " in url or "\\" in url,
            "give printable ASCII without spaces",
        ),
        (parts.scheme not in ("http", "https"), "give an http or https URL"),
        (not host, "name a host"),
        ("@" in parts.netloc, "give no user or password in the URL: store the key beside it"),
        (bool(parts.fragment) or url.endswith("#"), "give no fragment"),
        (port == 0, "give a port from 1 to 65535"),
        (bool(parts.query) and not parts.query.startswith("api-version="), "give no query but Azure's api-version"),
        ("&" in parts.query, "give no query but Azure's api-version"),
        (_odd_number(host), "write the address as four numbers, each from 0 to 255"),
    )
    return next((what for is_wrong, what in checks if is_wrong), "")


def _exposed(parts: SplitResult, host: str, *, plain_http: bool) -> str:
    """Return why nothing may be sent there."""
    address = _address(host)
    if address is not None and _is_apart(address):
        return "nothing is sent to this address: it belongs to the machine's own network"
    if parts.scheme == "http" and not plain_http and not _near(host, address):
        return "plain http would show what is sent to everybody on the way: give an https URL"
    return ""


def _is_apart(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is for the machine's own use: cloud machines keep credentials at such ones."""
    return address.is_link_local or address.is_multicast or address.is_unspecified


@lru_cache(maxsize=_KNOWN_URLS)
def is_near(url: str) -> bool:
    """Whether a URL is this machine's or of a private network."""
    host = (urlsplit(url).hostname or "").lower()
    return _near(host, _address(host))


def _near(host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    """Whether a host is this machine or of a private network; a name without a dot is, too."""
    if address is not None:
        return address.is_loopback or address.is_private
    return "." not in host or host.endswith(_LOCAL_SUFFIXES)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _odd_number(host: str) -> bool:
    """Whether a host is an address in one of the spellings that only resolvers read: 2130706433, 0x7f.1."""
    last = host.rstrip(".").rpartition(".")[2]
    numeric = last.isdigit() or (last.startswith("0x") and all(digit in "0123456789abcdef" for digit in last[2:]))
    return numeric and _address(host) is None
