"""The rules for URLs from definitions, agent records and requests, and the list of trusted exceptions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import httpx2

from orchestrator.guarded_http.addresses import Address, Network, parse_literal, refusal

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# Ports over 1023 where other protocols listen that HTTP can be made to speak: Fetch's "bad ports"
# (https://fetch.spec.whatwg.org/#port-blocking), databases, caches and control planes.
_REFUSED_PORTS: Final = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
    | {2375, 2376, 2379, 2380, 3306, 5432, 6379, 7233, 10250, 11211, 27017}
)

_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LOOPBACK: Final[tuple[Address, ...]] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))

WAY_OUT: Final = "If this host is trusted, its operator can exempt it with HTTP_ALLOW_HOSTS."


@dataclass(frozen=True, slots=True)
class AllowList:
    """Hosts and networks that are exempt from the address and port rules.

    Entries are `name`, `*.suffix`, an address, a CIDR, and each of the first three with `:port`, which exempts that
    port alone.
    """

    names: frozenset[tuple[str, int | None]] = frozenset()
    suffixes: tuple[tuple[str, int | None], ...] = ()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read `settings.http_allow_hosts`.

        Raises:
            ValueError: an entry is neither a host nor a network.
        """
        names: set[tuple[str, int | None]] = set()
        suffixes: list[tuple[str, int | None]] = []
        networks: list[tuple[Network, int | None]] = []
        for entry in entries:
            host, port = _split_port(entry.strip().lower())
            try:
                networks.append((ipaddress.ip_network(host, strict=False), port))
                continue
            except ValueError:
                pass
            name = host.removeprefix("*.").rstrip(".")
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"HTTP_ALLOW_HOSTS entry {entry!r} is not a host; write a host name, an address or a CIDR, "
                    "with or without :port"
                )
            if host.startswith("*."):
                suffixes.append((f".{name}", port))
            else:
                names.add((name, port))
        return cls(frozenset(names), tuple(suffixes), tuple(networks))

    def permits_name(self, host: str, port: int) -> bool:
        """Whether this host name (lower case, no trailing dot) is exempt on this port."""
        if (host, None) in self.names or (host, port) in self.names:
            return True
        return any(host.endswith(suffix) and only in (None, port) for suffix, only in self.suffixes)

    def permits_address(self, address: Address, port: int) -> bool:
        """Whether this address is exempt on this port."""
        return any(
            network.version == address.version and address in network and only in (None, port)
            for network, only in self.networks
        )


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, int(rest[1:]) if rest[1:].isdigit() else None
    host, colon, port = entry.rpartition(":")
    if colon and ":" not in host and port.isdigit():
        return host, int(port)
    return entry, None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL is refused."""

    host: str
    """The URL's host as far as it could be read; never its path, query or credentials."""
    reason: str
    exemptable: bool = True
    """Whether HTTP_ALLOW_HOSTS can change the answer."""

    @property
    def message(self) -> str:
        """One sentence that names the host and the reason."""
        return f"The HTTP guard refuses {self.host!r}: {self.reason}."


def port_refusal(port: int) -> str | None:
    """Say why a port is refused; 80, 443 and the unprivileged ports without a known other protocol are open."""
    if port in (80, 443) or (1024 <= port <= 65535 and port not in _REFUSED_PORTS):
        return None
    return f"port {port} is not a usual HTTP port (80, 443, or 1024 and above without another well-known protocol)"


def addresses_refusal(host: str, port: int, addresses: Sequence[Address], allow: AllowList) -> Refusal | None:
    """Judge all addresses that a host has at this moment; one bad address refuses them all.

    Args:
        host: the host as the URL spells it, lower case.
        port: the port of the connection.
        addresses: every address that the resolver gave.
        allow: the exemptions.
    """
    if allow.permits_name(host.rstrip("."), port):
        return None
    exempt = [allow.permits_address(address, port) for address in addresses]
    if addresses and all(exempt):
        return None
    if (reason := port_refusal(port)) is not None:
        return Refusal(host, reason)
    for address, trusted in zip(addresses, exempt, strict=True):
        if not trusted and (kind := refusal(address)) is not None:
            spelled = f"{address} is {kind}" if str(address) == host else f"it resolves to {address}, {kind}"
            return Refusal(host, spelled)
    return None


def static_refusal(url: httpx2.URL, allow: AllowList) -> Refusal | None:
    """Judge what can be known of a URL without asking a resolver."""
    host = url.raw_host.decode("ascii")
    if url.scheme not in DEFAULT_PORTS:
        return Refusal(host or "the URL", "only http and https URLs are allowed", exemptable=False)
    if not host:
        return Refusal("the URL", "it has no host", exemptable=False)
    if url.userinfo:
        return Refusal(host, "credentials in the URL are not allowed, use auth instead", exemptable=False)
    if url.port is not None and not 1 <= url.port <= 65535:
        return Refusal(host, f"port {url.port} does not exist", exemptable=False)
    try:
        literal = parse_literal(host.removesuffix("."))
    except ValueError:
        return Refusal(host, "it is an unusual spelling of an address, write four decimal numbers", exemptable=False)
    if literal is None and (len(host) > 253 or not _NAME.fullmatch(host.removesuffix("."))):
        return Refusal(host[:100], "it is not a host name", exemptable=False)
    return _judge_host(host, url.port or DEFAULT_PORTS[url.scheme], literal, allow)


def _judge_host(host: str, port: int, literal: Address | None, allow: AllowList) -> Refusal | None:
    if literal is not None:
        return addresses_refusal(host, port, [literal], allow)
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        found = [addresses_refusal(host, port, [address], allow) for address in _LOOPBACK]
        return found[0] if all(found) else None
    # A name may lead into an exempt network on this port: only its addresses can tell.
    if allow.permits_name(name, port) or any(only in (None, port) for _, only in allow.networks):
        return None
    reason = port_refusal(port)
    return Refusal(host, reason) if reason else None


def parse_url(text: str) -> httpx2.URL | Refusal:
    """Read a URL with the same parser that the connection uses, so that no two parsers can disagree."""
    try:
        return httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError, ValueError, TypeError):
        return Refusal("the URL", "it is not a valid URL", exemptable=False)


def check_url(url: str, allow: AllowList | Iterable[str] = ()) -> str | None:
    """Judge a URL at create time, without I/O: scheme, credentials, port, and the address where it is written out.

    Args:
        url: an absolute URL.
        allow: the exemptions, or `settings.http_allow_hosts`.

    Returns:
        A sentence that says why the guard would refuse it and the way out, or None. None is no promise: a name is
        judged again by its addresses at every connection.
    """
    allow = allow if isinstance(allow, AllowList) else AllowList.parse(allow)
    parsed = parse_url(url)
    refused = parsed if isinstance(parsed, Refusal) else static_refusal(parsed, allow)
    if refused is None:
        return None
    return f"{refused.message} {WAY_OUT}" if refused.exemptable else refused.message
