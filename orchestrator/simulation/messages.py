"""Delivers a scenario's messages: each in its turn, when it is due and can be taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import ValidationError

from orchestrator.definition.schemas import value_issues
from orchestrator.execution import events as ev
from orchestrator.execution.messages import BudgetRaise
from orchestrator.simulation.executing import SimulatedExecution
from orchestrator.simulation.mocks import Message
from orchestrator.simulation.report import SentMessage
from orchestrator.simulation.world import World


class Postman:
    """Delivers messages to the simulated execution, or to its children.

    Args:
        world: what the simulation shares.
        root: the execution.
    """

    def __init__(self, world: World, root: SimulatedExecution) -> None:
        self._world, self._root = world, root
        self._sent = [SentMessage(send=message.send) for message in world.scenario.messages]
        world.report.messages = self._sent
        self._next = 0
        self._due: datetime | None = None

    def deliver(self) -> None:
        """Deliver what is due and can be taken now; a message that is refused is tried again after the next event."""
        messages, world = self._world.scenario.messages, self._world
        while self._next < len(messages) and not self._root.gone:
            message = messages[self._next]
            if self._due is None:
                self._due = world.now + timedelta(seconds=message.after_seconds)
                if message.after_seconds:
                    world.later(message.after_seconds, _nothing)
            if world.now < self._due or not self._called(message):
                return
            sent, refused = self._sent[self._next], self._refusal(message)
            sent.refused = refused
            if (refused is None) != (message.refused is None) or (message.refused or "") not in (refused or ""):
                return
            sent.at_seconds = world.seconds
            self._next, self._due = self._next + 1, None
            if refused is None:
                self._take(message)

    def _called(self, message: Message) -> bool:
        return message.once_called is None or self._world.called[message.once_called] > 0

    def _target(self, message: Message) -> SimulatedExecution | None:
        return self._root if message.workflow_id is None else self._root.find(message.workflow_id)

    def _refusal(self, message: Message) -> str | None:
        """Say why a message cannot be taken now, as the workflow and its API would."""
        target = self._target(message)
        if target is None:
            return f"no execution of workflow '{message.workflow_id}' is open"
        machine = target.machine
        if message.send == "approve":
            return self._approval_refusal(target, message)
        if message.send in ("retry_step", "skip_step", "set_step_output") and not machine.parked(message.path):
            return f"step '{message.path}' is not parked"
        if message.send == "raise_budget" and machine.state.budget is None:
            return "the execution has no budget"
        return None

    def _approval_refusal(self, target: SimulatedExecution, message: Message) -> str | None:
        machine = target.machine
        refused = machine.refusal(message.path, message.decision, message.by)
        schema = machine.form_schema(message.path)
        if refused is not None or schema is None or message.decision != "approved":
            return refused
        issues = value_issues(schema, message.form)
        if not issues:
            return None
        return f"the form does not satisfy its schema: {issues[0].pointer or '/'}: {issues[0].message}"

    def _take(self, message: Message) -> None:
        target = self._target(message)
        if target is not None:
            target.apply(_EVENTS[message.send](message))


def _nothing() -> None:
    """Nothing happens; the time has come for a message."""


def _budget(message: Message) -> ev.Event:
    whole = {key: value if key == "cost_usd" else int(value) for key, value in message.budget.items()}
    try:
        return ev.BudgetRaised(BudgetRaise.model_validate({**whole, "reason": message.reason}))
    except ValidationError:
        return ev.BudgetRaised(BudgetRaise())


_EVENTS: dict[str, Callable[[Message], ev.Event]] = {
    "signal": lambda message: ev.SignalReceived(message.name, message.payload),
    "approve": lambda message: ev.ApprovalGiven(
        message.path, message.decision, message.by, message.form, message.reason
    ),
    "pause": lambda message: ev.PauseRequested("operator", message.reason),
    "resume": lambda message: ev.ResumeRequested("operator"),
    "cancel": lambda message: ev.CancelRequested(message.reason),
    "retry_step": lambda message: ev.ParkedStepRepaired(message.path, "retry"),
    "skip_step": lambda message: ev.ParkedStepRepaired(message.path, "skip"),
    "set_step_output": lambda message: ev.ParkedStepRepaired(message.path, "set_output", message.output),
    "raise_budget": _budget,
}
