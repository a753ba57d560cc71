"""Reading a response body within bounds, on the wire and decoded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import httpx2

from orchestrator.execution.errors_steps import HttpBadResponse

ACCEPT_ENCODING: Final = "gzip, deflate"
_PIECE_BYTES: Final = 256 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_PADDING: Final = b"\0"
_MOST_MEMBERS: Final = 1000
"""Each costs a copy of what follows it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one response, in bytes unless named otherwise."""

    body: int
    """Of the body, on the wire and decoded alike."""
    headers: int = 64 * 1024
    header_count: int = 200
    redirects: int = 5


class _Decoder(Protocol):
    def decode(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


class _Identity:
    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        """Nothing is left over."""


class _Inflate:
    """gzip and deflate in pieces of bounded size, so that a small bomb never unfolds in memory."""

    def __init__(self, host: str, *, gzip: bool) -> None:
        self._host = host
        self._gzip = gzip
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | (16 if gzip else 0))
        self._untouched = True
        self._members = 1
        self._behind: bytes | None = None
        """What came behind the end of a member; None inside one."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._behind is not None:
            data = self._next_member(self._behind + data)
        while data and self._behind is None:
            piece = self._inflate(data)
            while piece:
                yield piece
                # zlib may have taken all input and still hold output back.
                held_back = len(piece) == _PIECE_BYTES and not self._inflater.eof
                piece = self._inflate(self._inflater.unconsumed_tail) if held_back else b""
            data = self._inflater.unconsumed_tail
            if self._inflater.eof:
                data = self._next_member(self._inflater.unused_data)

    def finish(self) -> None:
        if not self._untouched and self._behind is None:
            raise HttpBadResponse(f"{self._host!r} sent a compressed body that ends too early.")

    def _inflate(self, data: bytes) -> bytes:
        try:
            piece = self._inflater.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            if self._gzip or not self._untouched:
                raise HttpBadResponse(f"{self._host!r} sent a body that cannot be decompressed.") from error
            # Some servers send "deflate" without the zlib wrapper that RFC 9110 section 8.4.1.2 asks for.
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            self._untouched = False
            return self._inflate(data)
        self._untouched = False
        return piece

    def _next_member(self, rest: bytes) -> bytes:
        # RFC 1952: a gzip body may be several members one after another; other bytes behind the end are padding.
        if not self._gzip or not rest.startswith(_GZIP_MAGIC):
            self._behind = rest[:1] if _GZIP_MAGIC.startswith(rest) else _PADDING
            return b""
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise HttpBadResponse(f"{self._host!r} sent a body of more than {_MOST_MEMBERS} compressed parts.")
        self._behind = None
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return rest


def _decoder(response: httpx2.Response, host: str) -> _Decoder:
    codings = [part.strip().lower() for part in response.headers.get("content-encoding", "").split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return _Identity()
    if codings == ["gzip"] or codings == ["x-gzip"]:
        return _Inflate(host, gzip=True)
    if codings == ["deflate"]:
        return _Inflate(host, gzip=False)
    spelled = ", ".join(codings)[:100]
    raise HttpBadResponse(f"{host!r} sent a body encoded as {spelled!r}; only gzip or deflate, once, is understood.")


def check_headers(response: httpx2.Response, limits: Limits, host: str) -> None:
    """Refuse a response whose header section is over its bounds.

    Raises:
        HttpBadResponse: too many header fields, or too many bytes of them.
    """
    raw = response.headers.raw
    size = sum(len(name) + len(value) + 4 for name, value in raw)
    if len(raw) > limits.header_count or size > limits.headers:
        raise HttpBadResponse(
            f"{host!r} sent {len(raw)} header fields of {size} bytes; "
            f"the bounds are {limits.header_count} fields and {limits.headers} bytes."
        )


async def read_body(response: httpx2.Response, limits: Limits, host: str) -> bytes:
    """Read a whole body.

    Raises:
        HttpBadResponse: it is over `limits.body` bytes on the wire or decoded, or cannot be decoded.
    """
    announced = response.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > limits.body:
        raise _too_large(host, limits.body)
    decoder = _decoder(response, host)
    body = bytearray()
    wire = 0
    async for part in response.stream:  # type: ignore[union-attr]
        wire += len(part)
        if wire > limits.body:
            raise _too_large(host, limits.body)
        for piece in decoder.decode(part):
            body += piece
            if len(body) > limits.body:
                raise _too_large(host, limits.body)
    decoder.finish()
    return bytes(body)


async def read_excerpt(response: httpx2.Response, limits: Limits, host: str, size: int) -> bytes:
    """Read at most the first `size` decoded bytes; what cannot be decoded or is over the bounds is left out."""
    body = bytearray()
    wire = 0
    try:
        decoder = _decoder(response, host)
        async for part in response.stream:  # type: ignore[union-attr]
            wire += len(part)
            for piece in decoder.decode(part):
                body += piece
                if len(body) >= size:
                    return bytes(body[:size])
            if wire > limits.body:
                break
    except HttpBadResponse:
        pass
    return bytes(body)


def _too_large(host: str, bound: int) -> HttpBadResponse:
    return HttpBadResponse(
        f"{host!r} sent a body over {bound} bytes.",
        hint="Ask for less, page by page, or have the operator raise HTTP_MAX_RESPONSE_BYTES.",
        details={"limit_bytes": bound},
    )
