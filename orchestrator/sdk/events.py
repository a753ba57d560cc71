"""Events of an execution as they happen, across broken connections."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.sdk.calls import Call, get, path
from orchestrator.sdk.errors import ServiceUnreachable
from orchestrator.sdk.flows import Answer, Give, Open, Read, Sleep, Stream, result_of
from orchestrator.sdk.methods import Iteration


@dataclass(frozen=True, slots=True)
class ExecutionEvent:
    """One event of an execution.

    Attributes:
        id: its place; `events(after=id)` goes on behind it. Empty where it is no place.
        type: `step`, `attempt`, `execution`, `snapshot`, `token`, and last `end`.
        data: the document that it carries.
    """

    id: str
    type: str
    data: dict[str, Any]


class EventOperations:
    """Watching."""

    @Iteration
    def events(
        self: Any, execution_id: str, *, after: str | None = None, tokens: bool = False
    ) -> Stream[ExecutionEvent]:
        """The events of an execution until its `end`; a connection that breaks is opened again behind the last event.

        Args:
            execution_id: which one.
            after: the id of the last event that is known; from the first by default.
            tokens: the text of running model calls, too.

        Raises:
            ApiProblem: there is no such execution, or the service stays away.
            ServiceUnreachable: nothing answers for longer than the retries last.
        """
        call = get(path("executions", execution_id, "events"), tokens=tokens or None, form="events")
        return _watch(call, after, self.retries)


def _watch(call: Call[Any], after: str | None, retries: Any) -> Stream[ExecutionEvent]:
    failed = 0
    while True:
        headers = {"Last-Event-ID": after} if after else {}
        answer: Answer | ServiceUnreachable = yield Open(replace(call, headers=headers))
        if isinstance(answer, Answer) and answer.status == 204:
            return
        opened = isinstance(answer, Answer) and answer.status == 200 and not answer.content
        if not opened:
            pause = retries.pause(call, answer, failed)
            if pause is None:
                result_of(call, answer)
                raise ServiceUnreachable("what answers is no stream of events", was_sent=True)
            failed += 1
            yield Sleep(pause)
            continue
        while (event := (yield Read())) is not None:
            failed = 0
            after = event.id or after
            yield Give(ExecutionEvent(event.id, event.event, json.loads(event.data)))
            if event.event == "end":
                return
        # An open stream that gave nothing counts as a failure, or it would be opened for ever.
        yield Sleep(retries.first_seconds * 2.0 ** min(failed, 5))
        failed += 1
