"""Turns one description of an operation into a method of the blocking and of the awaiting client."""

from __future__ import annotations

import functools
import inspect
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
        self._bound: Callable[..., Any] = _under(
            flow, lambda client, *given, **named: client.perform(flow(client, *given, **named))
        )
        _tell(self, self._bound, "{}")

    def __set_name__(self, owner: type, name: str) -> None:
        _name(self, self._bound, owner, name)

    def __call__(self, client: Any, /, *given: P.args, **named: P.kwargs) -> Any:
        """Call it as a function of the class: `OrchestratorClient.get_execution(client, "ex-1")`."""
        return self._bound(client, *given, **named)

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
        self._bound: Callable[..., Any] = _under(
            stream, lambda client, *given, **named: client.iterate(stream(client, *given, **named))
        )
        _tell(self, self._bound, "Iterator[{}]")

    def __set_name__(self, owner: type, name: str) -> None:
        _name(self, self._bound, owner, name)

    def __call__(self, client: Any, /, *given: P.args, **named: P.kwargs) -> Any:
        """Call it as a function of the class: `OrchestratorClient.iter_executions(client)`."""
        return self._bound(client, *given, **named)

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
    iteration = Iteration(found)
    _tell(iteration, iteration._bound, f"Iterator[{kind.__name__}]")
    return iteration


def _under(described: Callable[..., Any], function: F) -> F:
    """Give a function the name, the text and the signature of another."""
    functools.update_wrapper(function, described)
    return function


def _tell(method: Any, bound: Callable[..., Any], shape: str) -> None:
    """Let `help()` and editors at work see a method as what its caller gets, without the wrapping of its body.

    Args:
        method: the descriptor, which is what the class itself gives.
        bound: the function that its instances bind.
        shape: of what is given; `{}` stands for what is inside `Call[…]`, `Flow[…]` or `Stream[…]`.
    """
    written = inspect.signature(bound, follow_wrapped=True)
    inner = str(written.return_annotation).partition("[")[2].removesuffix("]")
    told: Any = bound
    told.__signature__ = written.replace(return_annotation=shape.format(inner) if inner else written.return_annotation)
    functools.update_wrapper(method, told)
    method.__signature__ = told.__signature__


def _name(method: Any, bound: Callable[..., Any], owner: type, name: str) -> None:
    for told in (method, bound):
        told.__name__, told.__qualname__, told.__module__ = name, f"{owner.__qualname__}.{name}", owner.__module__
