"""Which IP addresses a URL from outside may reach: ordinary public unicast addresses and nothing else."""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The IANA special-purpose registries, written out: `is_private` and `is_global` change between Python's patch releases.
# The first match names the reason, so narrower ranges stand above wider ones.
_REFUSED_V4: Final = tuple(
    (ipaddress.IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/32", "the unspecified address"),
        ("0.0.0.0/8", "a reserved address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.169.254/32", "the cloud metadata address"),
        ("168.63.129.16/32", "the cloud metadata address"),
        ("100.100.100.200/32", "the cloud metadata address"),
        ("169.254.0.0/16", "a link-local address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)

_REFUSED_V6: Final = tuple(
    (ipaddress.IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", "an IPv4-mapped address"),
        ("::ffff:0:0:0/96", "an IPv4-translated address"),
        ("::/96", "an IPv4-compatible address"),
        ("64:ff9b::/96", "a NAT64 address"),
        ("64:ff9b:1::/48", "a local-use NAT64 address"),
        ("fd00:ec2::254/128", "the cloud metadata address"),
        ("fc00::/7", "a unique local address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/32", "a Teredo address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("2002::/16", "a 6to4 address"),
    )
)

_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")


def refusal(address: Address) -> str | None:
    """Say what kind of address this is if it is refused.

    Addresses that carry an IPv4 address inside (mapped, 6to4, Teredo, NAT64) are refused whatever they carry: where
    they lead is decided by a gateway that the guard cannot see.

    Returns:
        A noun phrase such as "a loopback address", or None for an ordinary public address.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return next((reason for network, reason in _REFUSED_V4 if address in network), None)
    if address.scope_id is not None:
        return "an address with a zone"
    found = next((reason for network, reason in _REFUSED_V6 if address in network), None)
    if found is None and address not in _GLOBAL_UNICAST_V6:
        return "a reserved address"
    return found


def parse_literal(host: str) -> Address | None:
    """Read a host that is written as an address; None when it is a name.

    Raises:
        ValueError: the host ends in a number but is not four decimal numbers. Resolvers read `127.1`, `0x7f.1`,
            `017700000001` and `2130706433` as 127.0.0.1, so such a host is no name
            (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    if ":" in host:
        return ipaddress.IPv6Address(host)
    last = host.rpartition(".")[2]
    if not (last.isdigit() or last.startswith("0x")):
        return None
    return ipaddress.IPv4Address(host)
