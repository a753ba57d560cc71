"""The guarded client against a real server that misbehaves on request."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import httpx2
import pytest

from orchestrator.execution.errors_steps import (
    AttemptTimeout,
    HttpBadResponse,
    HttpBlocked,
    HttpConnection,
    InvalidHttpRequest,
)
from orchestrator.guarded_http import AllowList, GuardedHttp, GuardedTransport
from orchestrator.guarded_http.addresses import Address
from tests.unit.guarded_http.raw_server import RawServer, Received, answer, raw_server

LOOPBACK = AllowList.parse(["127.0.0.1"])


def resolving(**names: list[str]) -> Callable[[str, int], Awaitable[Sequence[Address]]]:
    """A resolver that knows only these names; `_` stands for a dot."""

    async def resolve(host: str, port: int) -> Sequence[Address]:
        try:
            return [ipaddress.ip_address(text) for text in names[host.replace(".", "_")]]
        except KeyError:
            raise OSError("unknown name") from None

    return resolve


async def fetch(url: str, allow: AllowList = LOOPBACK, limit: int = 100_000, **fields: object) -> bytes:
    """GET a URL with a client of its own."""
    client = GuardedHttp(allow, max_response_bytes=limit)
    try:
        return (await client.send("GET", url, **fields)).content  # type: ignore[arg-type]
    finally:
        await client.aclose()


async def test_loopback_is_refused_unless_it_is_exempt() -> None:
    async with raw_server(lambda request: answer(body=b"hello")) as server:
        with pytest.raises(HttpBlocked, match="HTTP_ALLOW_HOSTS"):
            await fetch(server.url, AllowList())
        assert server.requests == []
        assert await fetch(server.url) == b"hello"


async def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    client = GuardedHttp(resolve=resolving(inside_example=["10.0.0.5"]))
    with pytest.raises(HttpBlocked, match=r"'inside\.example': it resolves to 10\.0\.0\.5, a private address"):
        await client.send("GET", "http://inside.example/")


async def test_one_refused_address_refuses_a_mixed_answer() -> None:
    for addresses in (["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["127.0.0.1", "::1"]):
        allow = LOOPBACK if "::1" in addresses else AllowList()
        client = GuardedHttp(allow, resolve=resolving(mixed_example=addresses))
        with pytest.raises(HttpBlocked, match="it resolves to"):
            await client.send("GET", "http://mixed.example/")


async def test_the_connection_goes_to_the_address_that_was_checked_whatever_the_name_says_next() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def rebinding(host: str, port: int) -> Sequence[Address]:
        return [ipaddress.ip_address(text) for text in next(answers)]

    async with raw_server(lambda request: answer(body=b"first", Connection="close")) as server:
        client = GuardedHttp(LOOPBACK, resolve=rebinding)
        url = f"http://rebinding.example:{server.port}/"
        assert (await client.send("GET", url)).content == b"first"
        assert server.requests[0].headers["host"] == f"rebinding.example:{server.port}"
        with pytest.raises(HttpBlocked, match=r"10\.0\.0\.1"):
            await client.send("GET", url)
        await client.aclose()


async def test_tls_keeps_the_name_while_the_connection_is_pinned() -> None:
    pem = Path(__file__).with_name("pinned_example.pem")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=pem)
    async with raw_server(lambda request: answer(body=b"secret"), tls=serving) as server:
        client = GuardedHttp(
            LOOPBACK,
            resolve=resolving(pinned_example=["127.0.0.1"], other_example=["127.0.0.1"]),
            ssl_context=trusting,
        )
        got = await client.send("GET", f"https://pinned.example:{server.port}/")
        assert got.content == b"secret"
        assert server.server_names == ["pinned.example"]
        with pytest.raises(HttpConnection, match="CERTIFICATE_VERIFY_FAILED"):
            await client.send("GET", f"https://other.example:{server.port}/")
        await client.aclose()


async def test_the_next_address_is_tried_when_the_first_refuses_the_connection() -> None:
    async with raw_server(lambda request: answer(body=b"second")) as server:
        allow = AllowList.parse(["127.0.0.0/8", "::1"])
        client = GuardedHttp(allow, resolve=resolving(two_example=["::1", "127.0.0.1"]))
        assert (await client.send("GET", f"http://two.example:{server.port}/")).content == b"second"
        await client.aclose()


async def test_the_transport_guards_any_httpx2_client() -> None:
    async with httpx2.AsyncClient(transport=GuardedTransport(AllowList()), trust_env=False) as client:
        with pytest.raises(HttpBlocked):
            await client.get("http://127.0.0.1:9/")


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with raw_server(lambda request: answer(body=b"direct")) as server:
        assert await fetch(server.url) == b"direct"


async def test_an_unknown_name_is_a_connection_error_worth_another_try() -> None:
    client = GuardedHttp(resolve=resolving())
    with pytest.raises(HttpConnection, match=r"'gone\.example': the name does not resolve") as caught:
        await client.send("GET", "http://gone.example/")
    assert caught.value.retryable


async def test_a_closed_port_and_a_server_that_hangs_up_are_connection_errors() -> None:
    async with raw_server(lambda request: b"") as server:
        with pytest.raises(HttpConnection, match="broke"):
            await fetch(server.url)
    with pytest.raises(HttpConnection, match="No connection"):
        await fetch(server.url)


async def test_a_body_that_ends_too_early_is_a_connection_error() -> None:
    async with raw_server(lambda request: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab") as server:
        with pytest.raises(HttpConnection, match="broke"):
            await fetch(server.url)


async def test_what_is_not_http_is_a_bad_response() -> None:
    async with raw_server(lambda request: b"-ERR unknown command\r\n\r\n") as server:
        with pytest.raises(HttpBadResponse, match="not valid HTTP"):
            await fetch(server.url)


async def test_everything_together_has_one_deadline() -> None:
    async with raw_server(lambda request: None) as server:
        with pytest.raises(AttemptTimeout, match="did not answer within"):
            await fetch(server.url, timeout_seconds=0.2)


async def test_a_server_that_drips_does_not_outlive_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        with pytest.raises(AttemptTimeout):
            await fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_seconds=0.3)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(body=b"x" * 2000), "over 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, "over 1000 bytes"),
        (answer(body=gzip.compress(b"0" * 100_000, mtime=0), Content_Encoding="gzip"), "over 1000 bytes"),
        (answer(body=zlib.compress(b"0" * 100_000), Content_Encoding="deflate"), "over 1000 bytes"),
        (
            answer(body=gzip.compress(gzip.compress(b"0", mtime=0), mtime=0), Content_Encoding="gzip, gzip"),
            "only gzip or deflate, once",
        ),
        (answer(body=b"x", Content_Encoding="br"), "only gzip or deflate, once"),
        (answer(body=b"not gzip", Content_Encoding="gzip"), "cannot be decompressed"),
        (answer(body=gzip.compress(b"cut off", mtime=0)[:-9], Content_Encoding="gzip"), "ends too early"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: v\r\n" * 300 + b"Content-Length: 0\r\n\r\n", "header fields"),
        (answer(X_Long="v" * 70_000), "header fields"),
        (answer(X_Endless="v" * 200_000), "not valid HTTP"),
    ],
    ids=str,
)
async def test_an_oversized_or_undecodable_answer_is_refused(reply: bytes, reason: str) -> None:
    async with raw_server(lambda request: reply) as server:
        with pytest.raises(HttpBadResponse, match=reason):
            await fetch(server.url, limit=1000)


async def test_a_bomb_is_never_unfolded_in_memory() -> None:
    import tracemalloc

    bomb = gzip.compress(b"\0" * 200_000_000, 9, mtime=0)
    async with raw_server(lambda request: answer(body=bomb, Content_Encoding="gzip")) as server:
        tracemalloc.start()
        try:
            with pytest.raises(HttpBadResponse, match="over 1000000 bytes"):
                await fetch(server.url, limit=1_000_000)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(b"plain", mtime=0), "gzip"),
        (gzip.compress(b"pla", mtime=0) + gzip.compress(b"in", mtime=0), "GZIP"),
        (gzip.compress(b"plain", mtime=0) + b"\0\0", "x-gzip"),
        (zlib.compress(b"plain"), "deflate"),
        (zlib.compress(b"plain")[2:-4], "deflate"),
        (zlib.compress(b"plain") + b"\x1f\x8bx", "deflate"),
        (b"plain", "identity"),
    ],
)
async def test_compressed_bodies_are_decoded(body: bytes, coding: str) -> None:
    async with raw_server(lambda request: answer(body=body, Content_Encoding=coding)) as server:
        assert await fetch(server.url) == b"plain"
        assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("size", [262_144, 262_165, 262_500, 524_288, 524_700])
async def test_a_body_is_decoded_to_its_last_byte_however_its_output_falls_into_pieces(size: int) -> None:
    for body, coding in ((zlib.compress(b"0" * size), "deflate"), (gzip.compress(b"0" * size, mtime=0), "gzip")):
        bare = body[2:-4] if coding == "deflate" else body
        for sent in {body, bare}:
            reply = answer(body=sent, Content_Encoding=coding)
            async with raw_server(partial(_replying, reply)) as server:
                assert await fetch(server.url, limit=1_000_000) == b"0" * size


def _replying(reply: bytes, _request: Received) -> bytes:
    return reply


async def test_compressed_parts_may_be_split_anywhere() -> None:
    body = gzip.compress(b"pla", mtime=0) + gzip.compress(b"in", mtime=0) + b"\0" * 9
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with raw_server(lambda request: head + chunks) as server:
        assert await fetch(server.url) == b"plain"


async def test_a_body_of_countless_compressed_parts_is_refused() -> None:
    reply = answer(body=gzip.compress(b"", mtime=0) * 1001, Content_Encoding="gzip")
    async with raw_server(lambda request: reply) as server:
        with pytest.raises(HttpBadResponse, match="more than 1000 compressed parts"):
            await fetch(server.url)


async def test_an_endless_body_behind_the_end_of_a_compressed_error_is_not_read() -> None:
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"sorry", mtime=0))
        try:
            while True:
                writer.write(b"\0" * 65_536)
                await writer.drain()
                written += 65_536
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        client = GuardedHttp(LOOPBACK, max_response_bytes=1_000_000)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        got = await client.send("GET", url, timeout_seconds=60)
        await client.aclose()
    assert (got.status, got.content) == (500, b"sorry")
    # What fills the buffers of both sides is written as well.
    assert written < 50_000_000


async def test_an_empty_body_may_claim_to_be_compressed() -> None:
    async with raw_server(lambda request: answer(Content_Encoding="gzip")) as server:
        assert await fetch(server.url) == b""


SENT = [(b"Authorization", b"Bearer s"), (b"Cookie", b"c=1"), (b"X-Api-Key", b"k"), (b"Content-Type", b"text/plain")]


async def redirected(
    status: int, method: str, target: RawServer, location: str, sent: Sequence[tuple[bytes, bytes]] = ()
) -> Received:
    """Send a request to a server that redirects it, and return what the target received."""
    async with raw_server(lambda request: answer(status, Location=location)) as first:
        client = GuardedHttp(LOOPBACK)
        await client.send(method, first.url, headers=list(sent or SENT), content=b"" if method == "GET" else b"payload")
        await client.aclose()
    return target.requests[-1]


@pytest.mark.parametrize(
    ("status", "method", "follows", "keeps_body"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (301, "PUT", "PUT", True),
        (302, "DELETE", "DELETE", True),
        (307, "POST", "POST", True),
        (308, "PATCH", "PATCH", True),
        (303, "HEAD", "HEAD", True),
    ],
)
async def test_a_redirect_rewrites_the_method_as_rfc_9110_says(
    status: int, method: str, follows: str, keeps_body: bool
) -> None:
    async with raw_server(lambda request: answer()) as target:
        got = await redirected(status, method, target, f"{target.url}/there")
    assert (got.method, got.target) == (follows, "/there")
    assert got.body == (b"payload" if keeps_body else b"")
    assert ("content-type" in got.headers) == keeps_body


async def test_another_origin_gets_no_credentials() -> None:
    async with raw_server(lambda request: answer()) as target:
        got = await redirected(307, "GET", target, target.url)
    assert not {"authorization", "cookie", "x-api-key"} & set(got.headers)
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["host"] == f"127.0.0.1:{target.port}"


async def test_the_same_origin_keeps_credentials_and_relative_redirects_work() -> None:
    def respond(request: Received) -> bytes:
        return answer(302, Location="../there?x=1") if request.target == "/a/here" else answer()

    async with raw_server(respond) as server:
        client = GuardedHttp(LOOPBACK)
        await client.send("GET", f"{server.url}/a/here", headers=SENT)
        await client.aclose()
    assert server.requests[1].target == "/there?x=1"
    assert server.requests[1].headers["authorization"] == "Bearer s"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://10.0.0.1/", "a private address"),
        ("http://169.254.169.254/", "metadata"),
        ("//[::1]/", "loopback"),
        ("file:///etc/passwd", "only http and https"),
        ("http://127.1/", "unusual spelling"),
        ("http://user:pass@127.0.0.1/", "credentials"),
        ("http://inside.example/", "it resolves to 10.0.0.9"),
        ("http://[::1", "not a valid URL"),
    ],
)
async def test_every_hop_of_a_redirect_is_checked(location: str, reason: str) -> None:
    async with raw_server(lambda request: answer(302, Location=location)) as server:
        client = GuardedHttp(LOOPBACK, resolve=resolving(inside_example=["10.0.0.9"]))
        with pytest.raises(HttpBlocked, match=reason.replace(".", r"\.")):
            await client.send("GET", server.url)
        await client.aclose()


async def test_five_redirects_are_followed_and_a_sixth_is_not() -> None:
    def respond(request: Received) -> bytes:
        left = int(request.target[1:])
        return answer(302, Location=f"/{left - 1}") if left else answer(body=b"end")

    async with raw_server(respond) as server:
        assert await fetch(f"{server.url}/5") == b"end"
        assert len(server.requests) == 6
        with pytest.raises(HttpBadResponse, match="redirected more than 5 times"):
            await fetch(f"{server.url}/6")


async def test_a_redirect_that_is_wanted_or_leads_nowhere_is_an_answer() -> None:
    async with raw_server(
        lambda request: answer(302, Location="/x") if request.target == "/" else answer(304)
    ) as server:
        client = GuardedHttp(LOOPBACK)
        assert (await client.send("GET", server.url, wants=lambda status: status == 302)).status == 302
        assert (await client.send("GET", f"{server.url}/none")).wanted is False
        await client.aclose()


async def test_cookies_are_not_kept_between_calls() -> None:
    async with raw_server(lambda request: answer(Set_Cookie="session=1")) as server:
        client = GuardedHttp(LOOPBACK)
        for _ in range(2):
            await client.send("GET", server.url)
        await client.aclose()
    assert all("cookie" not in request.headers for request in server.requests)


async def test_an_unwanted_answer_is_read_no_further_than_its_excerpt() -> None:
    async with raw_server(lambda request: answer(500, body=b"e" * 1_000_000)) as server:
        client = GuardedHttp(LOOPBACK, max_response_bytes=1000)
        got = await client.send("GET", server.url, excerpt_bytes=10)
        await client.aclose()
    assert (got.status, got.wanted, got.content) == (500, False, b"e" * 10)


async def test_a_header_that_would_split_the_request_is_never_sent() -> None:
    async with raw_server(lambda request: answer()) as server:
        with pytest.raises(InvalidHttpRequest):
            await fetch(server.url, headers=[(b"X-A", b"1\r\nX-B: 2")])
        assert server.requests == []
