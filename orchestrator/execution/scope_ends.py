"""What follows when all steps of a scope are terminal."""

from __future__ import annotations

from typing import Any

from orchestrator.execution.blocks import Blocks
from orchestrator.execution.ending import Ending
from orchestrator.execution.engine import Engine, Place, ScopeRun
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.evaluation import failure_of
from orchestrator.execution.live_data import scope_bytes
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.state import ROOT
from orchestrator.execution.steps import StepEnds
from orchestrator.expressions import ExpressionError


class ScopeEnds:
    """Hears from the engine of every scope that closes.

    Args:
        engine: the shared core.
        ends: completes and fails the steps that hold scopes.
        blocks: goes on with blocks.
        ending: goes on with the document's own scopes.
    """

    def __init__(self, engine: Engine, ends: StepEnds, blocks: Blocks, ending: Ending) -> None:
        self._engine = engine
        self._ends = ends
        self._blocks = blocks
        self._ending = ending

    def scope_closed(self, run: ScopeRun) -> None:
        """Go on after a scope whose steps are all terminal."""
        if run.scope_id == ROOT:
            self._ending.root_closed(run)
            return
        owner = self._engine.owner_of(run)
        if owner is None:
            self._ending.cleanup_closed(run)
            return
        output, error = self._outcome_of(run, owner)
        self._engine.forget_scope(run)
        if owner.record.cancelling:
            if not owner.record.scopes:
                self._engine.settle(owner, "cancelled")
        elif owner.record.error is not None and not run.state.is_handler:
            # The block's own time is over; it fails once its scopes are closed.
            if not owner.record.scopes:
                self._ends.fail(owner, owner.record.error, again=False)
        elif run.state.is_handler:
            self._ends.handler_closed(owner, output, error)
        else:
            self._ends.guarded(owner, lambda: self._blocks.closed(owner, run, output, error))

    def _outcome_of(self, run: ScopeRun, owner: Place) -> tuple[Any, ErrorInfo | None]:
        if run.state.error is not None:
            return None, run.state.error
        try:
            if run.compiled.output is not None:
                return self._engine.evaluator.render(run.compiled.output, run.state), None
            self._engine.data.require_collectable(f"step '{owner.path}'", scope_bytes(run.compiled, run.state, None))
        except (ExpressionError, OrchestratorError) as error:
            return None, failure_of(error, owner.path)
        return {step_id: run.state.steps[step_id].value for step_id in run.compiled.sinks}, None
