"""One turn of an agent: compose the conversation, ask the model once, read what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.agents.answers import Completion, parse_answer, strict_json
from orchestrator.agents.factory import PinnedRecord
from orchestrator.agents.model_requests import ModelRequest
from orchestrator.agents.prompts import TaskContext, prompt_messages, sane, sane_json
from orchestrator.agents.records import AgentRecord, MemoryRecord
from orchestrator.agents.tool_call_parts import ModelToolCall
from orchestrator.agents.tools import Toolbox, ToolOffer
from orchestrator.agents.tools.remembering import completed, shown
from orchestrator.agents.turn_costs import TurnCosts
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AttemptTimeout, InvalidOutput
from orchestrator.execution.messages import TokenUsage
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult, ToolCallRequest, ToolOutcome
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.execution.tool_outcomes import shortened
from orchestrator.stores.sessions import SessionStore, check_session_id
from orchestrator.stores.transcripts import Transcripts

Message = dict[str, Any]


class ModelCaller(Protocol):
    """Makes one model call under the fleet's protections."""

    async def __call__(self, request: ModelRequest, /) -> Completion:
        """Return the answer; an error that comes after it carries its `usage`."""


class OpenCallNotes(Protocol):
    """Takes how one model call ends."""

    def add(self, call: LedgerCall) -> None:
        """Note how it ended."""

    def add_nothing(self) -> None:
        """Note that it never left."""

    def add_presumed(self) -> None:
        """Note that it was answered, and nobody said what it cost."""


class CallNotes(Protocol):
    """Keeps account of the model calls of an activity over all its attempts."""

    spent: list[LedgerCall]

    def calling(self, presumed: LedgerCall) -> AbstractContextManager[OpenCallNotes]:
        """Note a call under way."""


@dataclass(slots=True)
class _Turn:
    """What one turn works with."""

    pinned: PinnedRecord
    request: InvokeModelInput
    model: str
    offer: ToolOffer
    history: list[Message]
    new: list[Message]
    prompt: Message
    """What the task asks, as the model is told."""
    schema: Mapping[str, Any] | None
    known: dict[str, Any] = field(default_factory=dict)
    """Fields of every result of this turn."""

    @property
    def collection(self) -> str | None:
        """The agent's own collection."""
        memory = self.pinned.record.memory
        return memory.collection if memory is not None else None

    @property
    def label(self) -> str:
        return f"agent '{self.request.agent_type}', task '{self.request.task}'"


class AgentTurns:
    """Runs turns of agents that are records.

    Args:
        toolbox: what they may call.
        transcripts: keeps their conversations between turns.
        sessions: keeps conversations between tasks; None: there are none.
        costs: prices and estimates.
        default_model: of records that name none.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        transcripts: Transcripts,
        sessions: SessionStore | None,
        costs: TurnCosts,
        default_model: str,
    ) -> None:
        self._toolbox = toolbox
        self.transcripts = transcripts
        self._sessions = sessions
        self.costs = costs
        self._default_model = default_model

    async def run(
        self, pinned: PinnedRecord, request: InvokeModelInput, ask: ModelCaller, notes: CallNotes, seconds: float
    ) -> InvokeModelResult:
        """Run one turn.

        Raises:
            OrchestratorError: what the turn ended in, classified; `report` tells the machine of fallbacks.
        """
        fallbacks = len(pinned.record.fallback_models) if request.model is None else 0
        try:
            return await self._run(pinned, request, ask, notes, seconds, fallbacks)
        except OrchestratorError as error:
            error.report = {"fallbacks": fallbacks, "agent_version": pinned.version}
            raise

    async def _run(
        self,
        pinned: PinnedRecord,
        request: InvokeModelInput,
        ask: ModelCaller,
        notes: CallNotes,
        seconds: float,
        fallbacks: int,
    ) -> InvokeModelResult:
        turn = await self._prepare(pinned, request, fallbacks)
        call = self._model_request(turn, seconds)
        bound = self.costs.bound(call)
        if request.reserved is not None:
            needs = self.costs.missing(bound, request.reserved, call.model, notes.spent)
            if needs is not None:
                return InvokeModelResult(needs=needs, spent=notes.spent, **turn.known)
            call = self.costs.bounded(call)
        presumed = self.costs.presumed(self._entry(turn, notes, TokenUsage(), "ok"), bound)
        with notes.calling(presumed) as under_way:
            try:
                completion = await noted(
                    ask, call, lambda usage, outcome: self._entry(turn, notes, usage, outcome), under_way
                )
            except OrchestratorError as error:
                if error.parks and request.model_index < fallbacks:
                    # Another model answers now: better than waiting for this one.
                    error.parks = error.retryable = False
                raise
        return await self._read(turn, completion, notes)

    def _entry(self, turn: _Turn, notes: CallNotes, usage: TokenUsage, outcome: str) -> LedgerCall:
        return LedgerCall(
            path=turn.request.call.path,
            turn=turn.request.turn,
            attempt=len(notes.spent) + 1,
            model=turn.model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=self.costs.price(turn.model, usage),
            outcome=outcome,
        )

    # --- the conversation -----------------------------------------------------------------------------------------

    async def _prepare(self, pinned: PinnedRecord, request: InvokeModelInput, fallbacks: int) -> _Turn:
        record = pinned.record
        models = [request.model or record.model or self._default_model, *record.fallback_models]
        model = models[min(request.model_index, fallbacks)]
        task = record.tasks.get(request.task)
        names = request.tools if request.tools is not None or task is None else task.tools
        offer = await self._toolbox.offer(record, names=names)
        parts = await self.transcripts.load(request.transcript)
        history = [message for part in parts for message in part]
        new = [_outcome_message(outcome) for outcome in request.outcomes]
        if not history:
            new = await self._opening(record, request)
        if request.repair is not None:
            new.append({"role": "user", "content": _repair_prompt(request.repair)})
        schema = request.output_schema
        if schema is None and task is not None:
            schema = task.output_schema
        policy = record.tool_policy
        known = {
            "agent_version": pinned.version,
            "model": model,
            "fallbacks": fallbacks,
            "max_turns": record.max_turns,
            "tools_sha256": offer.sha256 if offer.tools else None,
            "approvers": policy.approvers if policy is not None else None,
        }
        # The first part is what began the conversation and the first answer; the prompt stands before that.
        prompt = parts[0][-2] if history else new[-1]
        return _Turn(pinned, request, model, offer, history, new, prompt, schema, known)

    async def _opening(self, record: AgentRecord, request: InvokeModelInput) -> list[Message]:
        context = TaskContext(request.task, request.parameters, request.input, request.dependencies)
        opening: list[Message] = [dict(message) for message in prompt_messages(record, context)]
        if request.session_id is None or self._sessions is None:
            return opening
        memory = record.memory or MemoryRecord()
        session_id = check_session_id(request.session_id)
        session = await self._sessions.load(session_id, memory, without_key=first_key(request))
        remembered: list[Message] = list(session.messages)
        if session.summary:
            remembered.insert(0, {"role": "system", "content": f"Earlier in this conversation: {session.summary}"})
        return [*opening[:-1], *remembered, opening[-1]]

    def _model_request(self, turn: _Turn, seconds: float) -> ModelRequest:
        record = turn.pinned.record
        limit = record.timeouts.start_to_close_seconds if record.timeouts is not None else None
        return ModelRequest(
            model=turn.model,
            messages=[*turn.history, *turn.new],
            output_schema=turn.schema,
            schema_name=turn.request.task,
            temperature=record.temperature,
            max_output_tokens=record.max_output_tokens,
            timeout_seconds=min(seconds, limit) if limit is not None else seconds,
            tools=tuple(shown(tool, turn.collection).as_function() for tool in turn.offer.tools),
            tool_choice=_tool_choice(turn),
            idempotency_key=turn.request.call.idempotency_key,
        )

    # --- the answer -----------------------------------------------------------------------------------------------

    async def _read(self, turn: _Turn, completion: Completion, notes: CallNotes) -> InvokeModelResult:
        assistant = _assistant_message(completion)
        result = InvokeModelResult(usage=completion.usage, spent=notes.spent, **turn.known)
        if completion.tool_calls:
            result.tool_calls = [self._resolved(turn, call) for call in completion.tool_calls]
        elif turn.schema is None:
            result.output = completion.text
        else:
            try:
                result.output = parse_answer(completion.text, turn.schema, label=turn.label)
            except InvalidOutput as error:
                result.invalid = error.details.get("errors") or [{"pointer": "", "message": error.message}]
        if completion.tool_calls or result.invalid is not None:
            result.part = await self.transcripts.keep([*turn.new, assistant])
            result.next_needs = self.costs.next_bound(
                [*turn.history, *turn.new, assistant], turn.pinned.record, turn.model
            )
        else:
            result.summarise = await self._remember(turn, assistant)
        return result

    def _resolved(self, turn: _Turn, call: ModelToolCall) -> ToolCallRequest:
        """Return what is to be done about a tool call: an unknown tool or a bad argument goes back to the model."""
        offer = turn.offer
        spec = offer.find(call.name)
        found = ToolCallRequest(call_id=call.call_id, tool=call.name[:200])
        if spec is None:
            names = ", ".join(tool.name for tool in offer.tools) or "none"
            found.error = f"there is no tool '{call.name[:100]}'; the tools are: {names}"
            return found
        found.kind = "workflow" if spec.kind == "workflow" else "activity"
        found.mcp_server, found.requires_approval = spec.mcp_server, spec.requires_approval
        found.workflow_id, found.version = spec.workflow_id, spec.version
        found.timeout_seconds = spec.timeout_seconds
        try:
            found.arguments = completed(spec, sane_json(strict_json(call.arguments_text)), turn.collection)
        except (ValueError, RecursionError) as error:
            found.error = f"the arguments are not JSON: {error}"
            return found
        errors = self._toolbox.argument_errors(spec, found.arguments)
        if errors:
            found.error = "the arguments do not satisfy the tool's schema: " + "; ".join(errors)
        return found

    async def _remember(self, turn: _Turn, assistant: Message) -> bool:
        """Add the task and its answer to the session; returns whether the session is to be summarised."""
        request = turn.request
        if request.session_id is None or self._sessions is None:
            return False
        memory = turn.pinned.record.memory or MemoryRecord()
        session_id = check_session_id(request.session_id)
        await self._sessions.append(session_id, first_key(request), [turn.prompt, assistant], memory)
        return (await self._sessions.load(session_id, memory)).needs_summary


def _tool_choice(turn: _Turn) -> str | None:
    """Return what the first answer must be; a tool that the step does not offer cannot be asked for."""
    choice = turn.pinned.record.tool_choice
    if turn.history or not turn.offer.tools:
        return None
    return choice if choice in ("auto", "required", "none") or (choice and turn.offer.find(choice)) else None


async def noted(
    ask: ModelCaller, call: ModelRequest, entry: Callable[[TokenUsage, str], LedgerCall], under_way: OpenCallNotes
) -> Completion:
    """Make a model call and note what it cost.

    A time-out stays noted as presumed: the provider may have worked on it. An attempt that is parked made no call.
    """
    try:
        completion = await ask(call)
    except OrchestratorError as error:
        if error.parks:
            under_way.add_nothing()
        elif error.code != AttemptTimeout.code:
            under_way.add(entry(error.usage or TokenUsage(), error.code))
        raise
    if completion.usage_reported:
        under_way.add(entry(completion.usage, "ok"))
    else:
        under_way.add_presumed()
    return completion


def first_key(request: InvokeModelInput) -> str:
    """Return the idempotency key of a task, in its session as for its effects: that of its first turn."""
    key = request.call.idempotency_key
    return "".join(key.rsplit(f"/m{request.turn}", 1)) if request.turn else key


def _outcome_message(outcome: ToolOutcome) -> Message:
    if outcome.error is not None:
        content: Any = {"error": outcome.error.type, "message": outcome.error.message}
    else:
        content = outcome.output
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return {"role": "tool", "tool_call_id": outcome.call_id, "content": sane(shortened(text))}


def _assistant_message(completion: Completion) -> Message:
    message: Message = {"role": "assistant", "content": completion.text or None}
    if completion.tool_calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": call.as_function()} for call in completion.tool_calls
        ]
    return message


def _repair_prompt(errors: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"- {error.get('pointer') or '/'}: {error.get('message', '')}" for error in errors[:20]]
    return sane(
        "Your last answer does not satisfy the JSON Schema of the answer:\n"
        + "\n".join(lines)
        + "\nAnswer again, with the corrected JSON only."
    )
