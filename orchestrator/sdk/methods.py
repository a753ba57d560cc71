"""Turns one description of an operation into a method of the blocking and of the awaiting client."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from orchestrator.sdk.calls import Call
from orchestrator.sdk.flows import Flow, Retries, Stream, every_item, exchange

P = ParamSpec("P")
T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item
F = TypeVar("F", bound=Callable[..., Any])


class Blocking(Protocol):
    """A client whose methods return when the answer is there."""

    retries: Retries

    def perform(self, flow: Flow[T]) -> T: ...  # noqa: D102
    def iterate(self, stream: Stream[I]) -> Iterator[I]: ...  # noqa: D102


class Awaiting(Protocol):
    """A client whose methods are awaited."""

    retries: Retries

    async def perform(self, flow: Flow[T]) -> T: ...  # noqa: D102
    def iterate(self, stream: Stream[I]) -> AsyncIterator[I]: ...  # noqa: D102


class Method(Generic[P, T]):
    """A method whose body is a flow."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__
        self._bound = _under(flow, lambda client, *given, **named: client.perform(flow(client, *given, **named)))

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else MethodType(self._bound, client)


class Operation(Method[P, T]):
    """A method that makes one call."""

    def __init__(self, call: Callable[Concatenate[Any, P], Call[T]]) -> None:
        def flow(client: Any, /, *given: P.args, **named: P.kwargs) -> Flow[T]:
            # No generator itself, so that wrong arguments are told where they are given.
            return exchange(call(client, *given, **named), client.retries)

        self.call = call
        super().__init__(_under(call, flow))


class Iteration(Generic[P, I]):
    """A method that gives items."""

    def __init__(self, stream: Callable[Concatenate[Any, P], Stream[I]]) -> None:
        self.__doc__ = stream.__doc__
        self._bound = _under(stream, lambda client, *given, **named: client.iterate(stream(client, *given, **named)))

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[I]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[I]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else MethodType(self._bound, client)


def items_of(pages: Operation[P, Any], kind: type[I]) -> Iteration[P, I]:
    """A method that gives the items of every page of an operation.

    Args:
        pages: the operation that gives one page.
        kind: of its items, for type checkers.
    """

    def stream(client: Any, /, *given: P.args, **named: P.kwargs) -> Stream[I]:
        return every_item(pages.call(client, *given, **named), client.retries)

    found = _under(pages.call, stream)
    found.__doc__ = f"Every {kind.__name__}, page after page. One page: {pages.__doc__}"
    return Iteration(found)


def _under(described: Callable[..., Any], function: F) -> F:
    """Give a function the name, the text and the signature of another."""
    functools.update_wrapper(function, described)
    return function
