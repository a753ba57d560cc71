"""Steps that wait: for a time, for a message, for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from orchestrator.definition.limits import SIGNALS_BUFFERED
from orchestrator.definition.models import Approval, Wait, WaitForSignal
from orchestrator.execution import events as ev
from orchestrator.execution.clock import iso
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.requests import schema_check
from orchestrator.execution.state import Offer, StepRecord
from orchestrator.execution.steps import StepEnds
from orchestrator.execution.waits import wait_seconds
from orchestrator.expressions import ExpressionError

_NUMBERS = re.compile(r"(\d+)")


class Waits:
    """Opens waits and ends them.

    Args:
        engine: the shared core.
        ends: completes and fails steps.
    """

    def __init__(self, engine: Engine, ends: StepEnds) -> None:
        self._engine = engine
        self._ends = ends

    def begin(self, place: Place, fields: dict[str, Any]) -> None:
        """Open a wait.

        Raises:
            StepFailure: a field came out wrong.
        """
        model = place.step.model
        if isinstance(model, Wait):
            self._begin_wait(place, wait_seconds(place.path, fields, self._engine.now))
        elif isinstance(model, WaitForSignal):
            self._begin_signal(place, model)
        elif isinstance(model, Approval):
            self._begin_approval(place, model, fields)

    def timer_fired(self, place: Place, kind: str) -> None:
        """A wait is over, or its time-out passed."""
        model = place.step.model
        if kind == "wait":
            self._ends.complete(place, None)
        elif isinstance(model, Approval):
            if kind == "remind":
                self._remind(place, model)
            else:
                self._approval_late(place, model)
        elif isinstance(model, WaitForSignal):
            if place.record.activity_id is not None and place.record.cursor is not None:
                # A message came in time; its check decides.
                place.record.cursor["late"] = True
            else:
                self._signal_late(place, model)

    # --- time -----------------------------------------------------------------------------------------------------

    def _begin_wait(self, place: Place, seconds: float) -> None:
        if seconds <= 0:
            self._ends.complete(place, None)
        else:
            self._engine.start_timer("wait", place, seconds, place.step.model.label)

    # --- signals --------------------------------------------------------------------------------------------------

    def _signal_late(self, place: Place, model: WaitForSignal) -> None:
        message = f"step '{place.path}': no signal '{model.signal}' within timeout_seconds = {model.timeout_seconds:g}"
        details = {"kind": "signal"}
        self._ends.fail(place, ErrorInfo(type="timeout", message=message, step=place.path, details=details))

    def _begin_signal(self, place: Place, model: WaitForSignal) -> None:
        place.record.awaits = "signal"
        if place.record.cursor is not None:
            # A try before this one may have timed out.
            place.record.cursor.pop("late", None)
        if model.timeout_seconds is not None:
            self._engine.start_timer("timeout", place, model.timeout_seconds, f"{model.label}: time-out")
        self._take_buffered(place, model)

    def _take_buffered(self, place: Place, model: WaitForSignal) -> None:
        self._engine.state.offers.append(Offer(model.signal, wait=(place.run.scope_id, place.step.step_id)))
        self.match()

    def signal(self, name: str, payload: Any) -> None:
        """Offer a message to the open waits in path order; nobody's is kept for later."""
        self._engine.state.offers.append(Offer(name, payload=payload))
        self.match()

    def match(self) -> None:
        """Go on with the searches that are under way, as far as the activation's budget allows."""
        offers = self._engine.state.offers
        while offers:
            ended = self._look_through(offers[0]) if offers[0].wait else self._go_round(offers[0])
            if ended is None:
                return
            del offers[0]
            ended()

    def _look_through(self, offer: Offer) -> Callable[[], None] | None:
        """Show a wait the kept messages in order; gives how that ends, None where it is interrupted."""
        place, signals = self._open_at(offer), self._engine.state.signals
        if place is None:
            return _nothing
        while offer.at < len(signals):
            name, payload = signals[offer.at]
            if name == offer.name:
                if self._engine.evaluator.spent:
                    return None
                if self._accepts(place, payload):
                    del signals[offer.at]
                    self._engine.data.taken(name, payload)
                    return partial(self._receive, place, payload)
            offer.at += 1
        return partial(self._nothing_kept, place)

    def _open_at(self, offer: Offer) -> Place | None:
        scope_id, step_id = offer.wait or ("", "")
        run = self._engine.runs.get(scope_id)
        if run is None or not _is_open(run.state.steps[step_id]):
            return None
        return self._engine.place(scope_id, step_id)

    def _go_round(self, offer: Offer) -> Callable[[], None] | None:
        """Show the waits a new message; gives how that ends, None where it is interrupted."""
        for place in self._open_for(offer.name):
            if offer.refused is not None and _order(place.path) <= _order(offer.refused):
                continue
            if self._engine.evaluator.spent:
                return None
            if self._accepts(place, offer.payload):
                return partial(self._receive, place, offer.payload)
            offer.refused = place.path
        return partial(self._keep, offer)

    def _keep(self, offer: Offer) -> None:
        kept = len(self._engine.state.signals)
        if kept < SIGNALS_BUFFERED and self._engine.data.keep(offer.name, offer.payload):
            self._engine.state.signals.append((offer.name, offer.payload))
        else:
            self._engine.state.signals_dropped += 1

    def _nothing_kept(self, place: Place) -> None:
        model = place.step.model
        if isinstance(model, WaitForSignal) and (place.record.cursor or {}).get("late"):
            self._signal_late(place, model)

    def _open_for(self, name: str) -> list[Place]:
        found = [
            self._engine.place(run.scope_id, step_id)
            for run in self._engine.runs.values()
            for step_id, record in run.state.steps.items()
            if _is_open(record)
        ]
        named = [
            place for place in found if isinstance(place.step.model, WaitForSignal) and place.step.model.signal == name
        ]
        return sorted(named, key=lambda place: _order(place.path))

    def _accepts(self, place: Place, payload: Any) -> bool:
        """Whether `accept_when` is true of a message; where it fails, another wait may take the message."""
        condition = place.step.conditions.get("accept_when")
        try:
            return self._engine.evaluator.condition(condition, place.run.state, result=payload)
        except ExpressionError:
            return False

    def _receive(self, place: Place, payload: Any) -> None:
        model = place.step.model
        if not isinstance(model, WaitForSignal) or model.json_schema is None:
            self._ends.complete(place, payload)
            return
        number = (place.record.cursor or {}).get("checks", 0) + 1
        place.record.cursor = {**(place.record.cursor or {}), "checks": number, "payload": payload}
        command = schema_check(
            self._engine.state, place.path, f"/v{number}", model.json_schema, payload, f"the signal '{model.signal}'"
        )
        place.record.activity_id = command.activity_id
        self._engine.in_flight[command.activity_id] = (place.run.scope_id, place.step.step_id)
        self._engine.commands.append(command)

    def signal_checked(self, place: Place, *, valid: bool) -> None:
        """Go on after a message's payload was checked: take it, or drop it and wait on."""
        cursor = place.record.cursor or {}
        payload = cursor.pop("payload", None)
        if valid:
            self._ends.complete(place, payload)
            return
        model = place.step.model
        if isinstance(model, WaitForSignal):
            self._take_buffered(place, model)

    # --- approvals ------------------------------------------------------------------------------------------------

    def _begin_approval(self, place: Place, model: Approval, fields: dict[str, Any]) -> None:
        place.record.awaits = "approval"
        approvers = _approvers(place.path, model, fields)
        place.record.cursor = {
            "title": str(fields.get("title", model.title)),
            "approvers": approvers,
            "approvals": [],
            "reminders": 0,
        }
        if model.timeout_seconds is not None:
            self._engine.start_timer("timeout", place, model.timeout_seconds, f"{model.label}: time-out")
        if model.remind_every_seconds is not None:
            self._engine.start_timer("remind", place, model.remind_every_seconds, f"{model.label}: reminder")

    def refusal(self, path: str, decision: str, by: str) -> str | None:
        """Say why a decision cannot be taken now; None when it can."""
        place = self._engine.find(path)
        if place is None or place.record.awaits != "approval" or place.record.agent is not None:
            return f"no approval is open at '{path}'"
        cursor = place.record.cursor or {}
        if cursor["approvers"] is not None and by not in cursor["approvers"]:
            return f"'{by}' is none of the approvers of '{path}'"
        if decision == "approved" and any(item["by"] == by for item in cursor["approvals"]):
            return f"'{by}' has approved '{path}' already"
        return None

    def approve(self, event: ev.ApprovalGiven) -> None:
        """Take a decision: any rejection decides, approvals do when there are enough."""
        place = self._engine.find(event.path)
        if place is None or self.refusal(event.path, event.decision, event.by) is not None:
            return
        model, cursor = place.step.model, place.record.cursor or {}
        given = {"decision": event.decision, "by": event.by, "form": event.form, "at": iso(self._engine.now)}
        if event.decision == "rejected":
            self._rejected(place, given, event.reason)
            return
        cursor["approvals"].append(given)
        if isinstance(model, Approval) and len(cursor["approvals"]) >= model.quorum:
            self._ends.complete(place, given | ({"approvals": cursor["approvals"]} if model.quorum > 1 else {}))

    def _rejected(self, place: Place, given: dict[str, Any], reason: str = "") -> None:
        model = place.step.model
        if isinstance(model, Approval) and model.on_reject == "continue":
            self._ends.complete(place, given)
            return
        message = f"step '{place.path}' was rejected by {given['by']}" + (f": {reason}" if reason else "")
        self._ends.fail(place, ErrorInfo(type="approval-rejected", message=message, step=place.path, details=given))

    def _approval_late(self, place: Place, model: Approval) -> None:
        given = {"decision": "approved", "by": "timeout", "form": None, "at": iso(self._engine.now)}
        if model.on_timeout == "approve":
            self._ends.complete(place, given)
        elif model.on_timeout == "reject":
            self._rejected(place, {**given, "decision": "rejected"})
        else:
            message = f"step '{place.path}': nobody decided within timeout_seconds = {model.timeout_seconds:g}"
            details = {"kind": "approval"}
            self._ends.fail(place, ErrorInfo(type="timeout", message=message, step=place.path, details=details))

    def _remind(self, place: Place, model: Approval) -> None:
        cursor = place.record.cursor or {}
        cursor["reminders"] += 1
        if model.remind_every_seconds is not None:
            self._engine.start_timer("remind", place, model.remind_every_seconds, f"{model.label}: reminder")


def _nothing() -> None:
    """Do nothing: a wait has ended before its search."""


def _is_open(record: StepRecord) -> bool:
    """Whether a wait takes messages now."""
    return record.awaits == "signal" and record.activity_id is None and not record.cancelling


def _approvers(path: str, model: Approval, fields: dict[str, Any]) -> list[str] | None:
    """Return who may decide; None for anybody.

    Raises:
        StepFailure: the field came out as something that names nobody, or fewer people than have to agree.
    """
    if model.approvers is None:
        return None
    given = fields["approvers"]
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise StepFailure(f"step '{path}': 'approvers' is {given!r}, which names nobody", code="invalid-step-input")
    if len(set(names)) < model.quorum:
        message = f"step '{path}': {len(set(names))} approvers can never give a quorum of {model.quorum}"
        raise StepFailure(message, code="invalid-step-input")
    return names


def _order(path: str) -> list[tuple[int, str]]:
    """Return a key that sorts paths by their numbers' values: item 9 before item 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBERS.split(path)]
