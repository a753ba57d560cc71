"""Connections that go to exactly the addresses which were checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore2

from orchestrator.execution.errors_steps import HttpBlocked
from orchestrator.guarded_http.addresses import Address
from orchestrator.guarded_http.rules import WAY_OUT, AllowList, Refusal, addresses_refusal

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Every address of a host, in the order in which to try them."""


def blocked(refused: Refusal) -> HttpBlocked:
    """Turn a refusal into the error that fails the step."""
    message = f"{refused.message} {WAY_OUT}" if refused.exemptable else refused.message
    return HttpBlocked(message, details={"host": refused.host})


async def system_resolver(host: str, port: int) -> Sequence[Address]:
    """Ask the operating system.

    Raises:
        OSError: the name has no address, or no resolver answers.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves, checks and connects in one place, so that no second look-up can give another address.

    The connection goes to the checked address; httpcore2 takes the TLS server name and the Host header from the URL.
    """

    def __init__(self, allow: AllowList, resolve: Resolver = system_resolver, per_address_seconds: float = 5.0) -> None:
        self._allow = allow
        self._resolve = resolve
        self._per_address_seconds = per_address_seconds
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore2's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first checked address that answers.

        Raises:
            HttpBlocked: one of the host's addresses, or the port, is refused.
            httpcore2.ConnectError: the name does not resolve or no address answers.
        """
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the resolver did not answer in time") from error
        if (refused := addresses_refusal(host.lower(), port, addresses, self._allow)) is not None:
            raise blocked(refused)
        # One address that swallows packets must not use up the time of the next.
        limit = timeout if len(addresses) == 1 else min(timeout or self._per_address_seconds, self._per_address_seconds)
        last: Exception = httpcore2.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(str(address), port, limit, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        raise last

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        try:
            return [ipaddress.ip_address(host.removesuffix("."))]
        except ValueError:
            pass
        try:
            return await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError("the name does not resolve") from error
        except UnicodeError as error:
            raise httpcore2.ConnectError("the name cannot be looked up") from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore2's
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: no URL leads to a local socket."""
        raise blocked(Refusal("the URL", "local sockets are not allowed", exemptable=False))

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore2 asks for it between its own retries, which are off."""
        await self._backend.sleep(seconds)
