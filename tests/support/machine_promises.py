"""What the machine promises after every event, judged from the language page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.definition import CompiledDefinition, CompiledScope
from orchestrator.execution import commands as cm
from orchestrator.execution import events as ev
from orchestrator.execution.live_data import json_bytes
from orchestrator.execution.machine import Machine
from orchestrator.execution.messages import ValidateJsonInput
from orchestrator.execution.state import ROOT, TERMINAL, ExecutionState, StepState

States = dict[tuple[str, str], StepState]


def join_allows(join: Any, listed: Sequence[str]) -> bool:
    """Say whether a step may run, by the join table of the language page.

    Args:
        join: as the definition has it; `{"at_least": n}` as n.
        listed: states of the steps in `depends_on`.
    """
    completed, ended = listed.count("completed"), all(state in TERMINAL for state in listed)
    if join == "all":
        return completed == len(listed)
    if join == "settled":
        return ended
    return completed >= (1 if join == "any" else join)


class Promises:
    """Checks one execution.

    Args:
        definition: compiled.
    """

    def __init__(self, definition: CompiledDefinition) -> None:
        self._definition = definition

    def noted(self, state: ExecutionState) -> tuple[States, bool]:
        """Return what is compared with the state after the event: step states, and whether it was paused."""
        states = {
            (scope.scope_id, step_id): record.state
            for scope in state.scopes.values()
            for step_id, record in scope.steps.items()
        }
        return states, bool(state.holds)

    def check(
        self,
        before: tuple[States, bool],
        machine: Machine,
        event: ev.Event,
        commands: Sequence[cm.Command],
        in_flight: Mapping[str, str],
    ) -> None:
        """Assert every promise after an event.

        Args:
            before: what `noted` gave.
            machine: after the event.
            event: what happened.
            commands: what the machine asked for.
            in_flight: activities and children that the driver has under way.
        """
        states, paused = before
        state = machine.state
        self._joins(states, state)
        self._kept(states, state)
        self._in_flight(machine, in_flight)
        self._budgets(state, in_flight)
        self._data(state)
        if paused and state.holds:
            self._nothing_begins(states, state, commands)
        if machine.closed:
            self._closed(state, in_flight)

    def _compiled(self, state: ExecutionState, scope_id: str) -> CompiledScope:
        scope = state.scopes[scope_id]
        return self._definition.scopes[scope.owner, scope.part]

    def _joins(self, states: States, state: ExecutionState) -> None:
        """No step begins before its join and its inferred dependencies allow; one that is skipped may not run."""
        for scope_id, scope in state.scopes.items():
            compiled = self._compiled(state, scope_id)
            for step_id, record in scope.steps.items():
                if states.get((scope_id, step_id), "pending") != "pending" or record.state == "pending":
                    continue
                step = compiled.steps[step_id]
                listed = [scope.steps[name].state for name in step.listed]
                join = getattr(step.model.join, "at_least", step.model.join)
                if record.state in ("running", "completed", "failed"):
                    assert join_allows(join, listed), f"'{step_id}' began against its join"
                    for name, strict in step.inferred.items():
                        found = scope.steps[name].state
                        assert found in TERMINAL, f"'{step_id}' began before '{name}' ended"
                        assert found == "completed" or not strict, f"'{step_id}' reads '{name}' strictly"

    def _kept(self, states: States, state: ExecutionState) -> None:
        for (scope_id, step_id), earlier in states.items():
            if earlier in TERMINAL and scope_id in state.scopes:
                now = state.scopes[scope_id].steps[step_id].state
                assert now == earlier, f"'{scope_id}' '{step_id}' was {earlier} and is {now}"

    def _in_flight(self, machine: Machine, in_flight: Mapping[str, str]) -> None:
        state = machine.state
        known = [
            identifier
            for scope in state.scopes.values()
            for record in scope.steps.values()
            for identifier in record.flights
        ]
        assert len(known) == len(set(known)), f"an id is in flight twice: {sorted(known)}"
        assert set(known) == set(in_flight) - {"~output"}, (sorted(known), sorted(in_flight))
        assert machine.busy == bool(in_flight)
        if machine.movable:
            again = [command.child_id for command in machine.await_children()]
            assert sorted(again) == sorted(in_flight), "what is in flight would be lost in the next run"
        children = {identifier for identifier in in_flight if identifier.startswith(f"{machine.state.execution_id}.")}
        steps = [identifier for identifier in in_flight if "/v" not in identifier and identifier not in children]
        assert len(steps) <= self._definition.max_parallel

    def _budgets(self, state: ExecutionState, in_flight: Mapping[str, str]) -> None:
        """What is reserved is reserved for what is in flight; what was spent is bounded, cleaning up apart."""
        loops = [record.agent for scope in state.scopes.values() for record in scope.steps.values() if record.agent]
        kept = [(state.budget, state.ledger.total), *((loop.budget, loop.spent) for loop in loops)]
        for budget, spent in kept:
            if budget is None:
                continue
            assert set(budget.reserved) <= set(in_flight), "a reservation outlives its call"
            if state.phase == "running":
                assert budget.model_calls is None or spent.model_calls <= budget.model_calls
                assert budget.tool_calls is None or spent.tool_calls <= budget.tool_calls

    def _data(self, state: ExecutionState) -> None:
        """What is counted of closed scopes, and of open ones, is what there is."""
        closed = sum(state.scopes[scope_id].bytes for scope_id in state.retained)
        assert state.retained_bytes == closed
        still = sum(scope.bytes for scope in state.scopes.values()) - closed
        assert state.live_bytes >= still + state.signals_bytes
        for scope_id, scope in state.scopes.items():
            if scope_id not in state.retained:
                given = sum(record.bytes + record.held for record in scope.steps.values())
                assert scope.bytes >= given + (json_bytes(scope.names) if scope.names else 0)

    def _nothing_begins(self, states: States, state: ExecutionState, commands: Sequence[cm.Command]) -> None:
        for command in commands:
            assert not isinstance(command, cm.StartChild), "a child begins during a pause"
            if isinstance(command, cm.ScheduleActivity):
                assert isinstance(command.arguments[0], ValidateJsonInput), (
                    f"{command.activity_id} begins during a pause"
                )
        for scope in state.scopes.values():
            for step_id, record in scope.steps.items():
                if states.get((scope.scope_id, step_id), "pending") == "pending":
                    assert record.state != "running", f"'{step_id}' begins during a pause"

    def _closed(self, state: ExecutionState, in_flight: Mapping[str, str]) -> None:
        assert not in_flight, f"closed with {sorted(in_flight)} in flight"
        assert state.outcome is not None
        assert (state.error is None) == (state.outcome == "completed")
        assert not state.timers
        assert not state.compensations or state.outcome == "completed"
        for scope in state.scopes.values():
            for step_id, record in scope.steps.items():
                assert record.state in TERMINAL, f"'{scope.scope_id}' '{step_id}' is {record.state} at the end"
        assert set(state.scopes) - set(state.retained) <= {ROOT}, "a scope is open at the end"
