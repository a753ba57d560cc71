"""What the client does, without I/O: generators that a blocking and an awaiting transport drive alike."""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.sdk.calls import Call
from orchestrator.sdk.errors import ApiProblem, ServiceUnreachable

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call; resumed with an `Answer` or a `ServiceUnreachable`."""

    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Open:
    """Send a call whose answer is a stream; resumed as after `Send`, with no content where the stream is open."""

    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Read the open stream; resumed with an `httpx2.ServerSentEvent`, or None where it ended or broke."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Give(Generic[I]):
    """Give an item to whoever iterates."""

    item: I


Command = Send | Open | Read | Sleep
Flow = Generator[Command, Any, T]
Stream = Generator[Command | Give[I], Any, None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said.

    Attributes:
        status: the HTTP status.
        headers: by their names in lower case.
        content: the body.
        service: the address that answered.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    service: str


@dataclass(frozen=True, slots=True)
class Retries:
    """When a call is sent again: it was refused for now (429, 503), or nobody knows what became of it.

    Attributes:
        most: how often after the first time; 0 for never.
        first_seconds: the first pause; each further one is twice as long, and half of it is chance.
        longest_seconds: no pause is longer; where `Retry-After` asks for more, the error is raised at once.
    """

    most: int = 3
    first_seconds: float = 0.25
    longest_seconds: float = 10.0

    def pause(self, call: Call[Any], answer: Answer | ServiceUnreachable, sent_again: int) -> float | None:
        """How long to wait before the call is sent again; None where it is not."""
        if sent_again >= self.most or not _transient(call, answer):
            return None
        pause = min(self.longest_seconds, self.first_seconds * 2.0**sent_again) * random.uniform(0.5, 1)
        asked = 0.0 if isinstance(answer, ServiceUnreachable) else seconds_asked(answer.headers)
        return None if asked > self.longest_seconds else max(asked, pause)


NEVER = Retries(most=0)


def exchange(call: Call[T], retries: Retries) -> Flow[T]:
    """Send a call until it is answered for good.

    Raises:
        ApiProblem: the answer is an error.
        ServiceUnreachable: there is no usable answer.
    """
    sent_again = 0
    while True:
        answer: Answer | ServiceUnreachable = yield Send(call)
        pause = retries.pause(call, answer, sent_again)
        if pause is None:
            return result_of(call, answer)
        yield Sleep(pause)
        sent_again += 1


def every_item(call: Call[Any], retries: Retries) -> Stream[Any]:
    """Give the items of a page and of all that follow it."""
    while True:
        page = yield from exchange(call, retries)
        for item in page["items"]:
            yield Give(item)
        cursor = page.get("next_cursor")
        if not cursor:
            return
        call = call.at(cursor)


def result_of(call: Call[T], answer: Answer | ServiceUnreachable) -> T:
    """What an answer holds.

    Raises:
        ApiProblem: the answer is an error.
        ServiceUnreachable: there was none, or none of ours.
    """
    if isinstance(answer, ServiceUnreachable):
        raise answer
    if 200 <= answer.status < 300 and call.form == "text":
        return answer.content.decode(errors="replace")  # type: ignore[return-value]  # T is str where text is asked for
    document = _json_object(answer.content) if answer.content else None
    if 200 <= answer.status < 300 and (document is not None or not answer.content):
        return document  # type: ignore[return-value]  # T is the document's type, None where nothing is answered
    if answer.status >= 400 and document is not None:
        raise ApiProblem(answer.status, document, retry_after_seconds=seconds_asked(answer.headers) or None)
    raise ServiceUnreachable(
        f"what answers at {answer.service} is not an orchestrator (status {answer.status} on {call.path})",
        was_sent=True,
    )


def seconds_asked(headers: Mapping[str, str]) -> float:
    """The seconds of `Retry-After`, 0 without one."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return 0.0


def _transient(call: Call[Any], answer: Answer | ServiceUnreachable) -> bool:
    if isinstance(answer, ServiceUnreachable):
        return call.repeatable or not answer.was_sent
    # 429 is said before anything is done; after 502 to 504 nobody knows.
    return answer.status == 429 or (answer.status in {502, 503, 504} and call.repeatable)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
