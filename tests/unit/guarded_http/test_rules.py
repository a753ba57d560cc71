"""The guard's judgement without a network: addresses, spellings, ports, exemptions."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.guarded_http import AllowList, check_url
from orchestrator.guarded_http.addresses import parse_literal, refusal


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.254", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("0.1.2.3", "a reserved address"),
        ("10.1.2.3", "a private address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.1.1", "a private address"),
        ("169.254.169.254", "the cloud metadata address"),
        ("168.63.129.16", "the cloud metadata address"),
        ("169.254.1.1", "a link-local address"),
        ("100.64.0.1", "a carrier-grade NAT address"),
        ("100.127.255.255", "a carrier-grade NAT address"),
        ("198.18.0.1", "a benchmarking address"),
        ("192.0.2.1", "a documentation address"),
        ("224.0.0.1", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
        ("240.0.0.1", "a reserved address"),
        ("::", "the unspecified address"),
        ("::1", "a loopback address"),
        ("::7f00:1", "an IPv4-compatible address"),
        ("::ffff:127.0.0.1", "an IPv4-mapped address"),
        ("::ffff:8.8.8.8", "an IPv4-mapped address"),
        ("64:ff9b::7f00:1", "a NAT64 address"),
        ("64:ff9b:1::a00:1", "a local-use NAT64 address"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a Teredo address"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("2001:db8::1", "a documentation address"),
        ("fc00::1", "a unique local address"),
        ("fd00:ec2::254", "the cloud metadata address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "an address with a zone"),
        ("fec0::1", "a site-local address"),
        ("ff02::1", "a multicast address"),
        ("100::1", "a reserved address"),
        ("5f00::1", "a reserved address"),
    ],
)
def test_an_address_that_is_not_public_is_refused_with_its_kind(address: str, reason: str) -> None:
    assert refusal(ipaddress.ip_address(address)) == reason


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "2606:4700:4700::1111"],
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert refusal(ipaddress.ip_address(address)) is None


@given(st.ip_addresses())
def test_no_address_is_allowed_that_python_calls_anything_but_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(address) is None:
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local)


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0X7F.0.0.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0/",
        "http://127.0.0.1./",
        "http://127。0。0。1/",
        "http://１２７.０.０.１/",
        "http://①②⑦.⓪.⓪.①/",
        "http://%31%32%37.0.0.1/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[fe80::1%25eth0]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://ｌｏｃａｌｈｏｓｔ/",
        "http://example.com\\@127.0.0.1/",
        "http://user:password@example.com/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "//example.com/",
        "example.com",
        "http://",
        "http:///path",
        "http://exa mple.com/",
        "http://exa\tmple.com/",
        "http://exa\r\nmple.com/",
        "http://x..com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:22/",
        "http://example.com:25/",
        "http://example.com:6379/",
        "http://example.com:6667/",
        "http://[::1",
        "http://\ud800.com/",
        "",
    ],
)
def test_a_url_that_needs_no_resolver_to_be_refused_is_refused_at_create_time(url: str) -> None:
    assert check_url(url) is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTP://EXAMPLE.COM/a?b=c#d",
        "http://example.com:8080/",
        "https://example.com:8443/",
        "https://münchen.de/",
        "http://a_b.example.com/",
        "http://8.8.8.8/",
        "http://[2606:4700:4700::1111]/",
        "http://example.com./",
    ],
)
def test_an_ordinary_url_is_allowed(url: str) -> None:
    assert check_url(url) is None


@given(st.text(max_size=60))
def test_the_create_time_check_never_raises(text: str) -> None:
    check_url(text)
    check_url(f"http://{text}/")


def test_a_refusal_names_host_reason_and_way_out_but_nothing_else_of_the_url() -> None:
    message = check_url("http://10.0.0.5:8080/secret-path?token=hidden")
    assert message is not None
    assert "'10.0.0.5'" in message
    assert "a private address" in message
    assert "HTTP_ALLOW_HOSTS" in message
    assert "secret" not in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://127.0.0.1:9999/", "127.0.0.1"),
        ("http://127.0.0.1:22/", "127.0.0.0/8"),
        ("http://127.0.0.1:9999/", "127.0.0.1:9999"),
        ("http://[::1]:9999/", "[::1]:9999"),
        ("http://[fd00::7]/", "fd00::/8"),
        ("http://localhost:22/", "localhost"),
        ("http://LocalHost.:22/", "LOCALHOST"),
        ("http://billing.internal:22/", "billing.internal"),
        ("http://billing.internal:22/", "*.internal"),
        ("http://localhost:8000/", "127.0.0.1"),
    ],
)
def test_an_exemption_lifts_the_address_and_the_port_rule(url: str, entry: str) -> None:
    assert check_url(url) is not None or "internal" in url
    assert check_url(url, [entry]) is None


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://127.0.0.1:9998/", "127.0.0.1:9999"),
        ("http://127.0.0.2/", "127.0.0.1"),
        ("http://10.0.0.1/", "127.0.0.0/8"),
        ("http://evil-billing.internal:22/", "billing.internal"),
        ("http://internal:22/", "*.internal"),
        ("http://user@127.0.0.1/", "127.0.0.1"),
        ("ftp://127.0.0.1/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
    ],
)
def test_an_exemption_goes_no_further_than_it_says(url: str, entry: str) -> None:
    assert check_url(url, [entry]) is not None


@pytest.mark.parametrize("entry", ["", "http://example.com", "a b", "10.0.0.0/40", "exa$mple"])
def test_an_exemption_that_is_no_host_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="HTTP_ALLOW_HOSTS"):
        AllowList.parse([entry])


def test_a_name_that_ends_in_a_number_is_no_name() -> None:
    assert parse_literal("example.com") is None
    for host in ("1.2.3", "example.1", "1.2.3.4.5", "example.0x10"):
        with pytest.raises(ValueError):
            parse_literal(host)
