"""Agent records: what an agent is, as data. Validation gives every issue at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from orchestrator.agents.record_size import size_issues
from orchestrator.definition import limits
from orchestrator.definition.canonical import canonical_sha256
from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.definition.part_check import check_part
from orchestrator.definition.parts import Part, Retry, Seconds
from orchestrator.definition.schemas import schema_issues
from orchestrator.definition.validation import as_issue
from orchestrator.execution.errors import InvalidAgent
from orchestrator.expressions import check_references, collect_template_errors, suggest

AGENT_TYPE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
MODEL_PATTERN = r"^[A-Za-z0-9_-]+/.+$"
PROMPT_ROOTS = ("task", "parameters", "input", "dependencies")
"""What a prompt template sees."""


class TaskRecord(Part):
    """One task that an agent knows."""

    description: str = Field("", max_length=2000)
    prompt: str = Field(
        min_length=1, max_length=65_536, description="Template over task, parameters, input, dependencies."
    )
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema 2020-12 that the answer must satisfy.")
    tools: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        None, max_length=128, description="Those of the agent's tools that this task may use; absent: all of them."
    )


class MemoryRecord(Part):
    """What an agent remembers: of the conversation of a `session_id`, and by meaning in a collection."""

    window_messages: int = Field(20, ge=1, le=500, description="At most so many of the newest messages are shown.")
    window_characters: int = Field(
        40_000, ge=1_000, le=1_000_000, description="They hold together at most so many characters."
    )
    ttl_seconds: float = Field(
        2_592_000, ge=1, le=limits.LONGEST_SECONDS, description="A session is forgotten so long after its last message."
    )
    summarise_over_characters: int | None = Field(
        None,
        ge=2_000,
        le=1_000_000,
        description="Over so many stored characters the oldest messages become a summary; absent: they are dropped.",
    )
    collection: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="Collection of the agent's semantic memory."
    )


class ToolPolicy(Part):
    """Which of the agent's tool calls people decide about."""

    requires_approval: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default_factory=list, max_length=128, description="Names of tools whose calls wait for approval; `*`: all."
    )
    approvers: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, min_length=1, max_length=100, description="Who may decide; absent: anybody who is let in."
    )


class AgentTimeouts(Part):
    """Time limits of the agent's model calls, where the step has none."""

    start_to_close_seconds: Seconds | None = Field(None, description="One model call.")


class AgentRecord(Part):
    """An agent as data: which model, what it is told, and the tasks that it knows."""

    agent_type: str = Field(pattern=AGENT_TYPE_PATTERN)
    description: str = Field("", max_length=2000)
    model: str | None = Field(
        None, pattern=MODEL_PATTERN, max_length=200, description="`provider/model`; absent: DEFAULT_MODEL."
    )
    instructions: str = Field("", max_length=65_536, description="The system message, sent as it is.")
    tasks: dict[Annotated[str, Field(min_length=1, max_length=200)], TaskRecord] = Field(default_factory=dict)
    temperature: float | None = Field(None, ge=0, le=2)
    max_output_tokens: int | None = Field(None, ge=1, le=1_000_000)
    memory: MemoryRecord | None = None
    fallback_models: list[Annotated[str, Field(pattern=MODEL_PATTERN, max_length=200)]] = Field(
        default_factory=list, max_length=10, description="Asked one after the other where the model before fails."
    )
    tools: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default_factory=list, max_length=128, description="Names of the tools that its model may call."
    )
    mcp_servers: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=32, description="MCP servers of the settings, all of whose tools it may call."
    )
    tool_choice: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Of the first answer: `auto`, `required` (some tool), `none`, or a tool's name.",
    )
    max_turns: int | None = Field(None, ge=1, le=limits.MOST_TURNS, description="Model answers in one task; 10.")
    tool_policy: ToolPolicy | None = None
    timeouts: AgentTimeouts | None = None
    retry: Retry | None = Field(None, description="Attempts of a model call, where neither step nor defaults say.")


def check_record(document: Any, *, agent_type: str | None = None) -> AgentRecord:
    """Return the record that a JSON document describes.

    Args:
        document: any JSON value.
        agent_type: the type in the request's path, which the document may leave out but not contradict.

    Raises:
        InvalidAgent: with every issue, its pointer and a hint.
    """
    if not isinstance(document, Mapping):
        raise _invalid([Issue("wrong-type", "an agent record is a JSON object", "", 'send {"agent_type": …}')])
    raw = dict(document)
    issues = size_issues(raw)
    if not issues:
        if agent_type is not None:
            issues += _adopt_type(raw, agent_type)
        record, found = check_part(AgentRecord, raw, "")
        issues += found
        issues += _task_issues(raw.get("tasks"))
        issues += [*_policy_issues(record), *_task_tool_issues(record)] if record is not None else []
        if record is not None and not issues:
            return record
    raise _invalid(issues)


def record_document(record: AgentRecord) -> dict[str, Any]:
    """Return the record's JSON form, absent fields left out."""
    return record.model_dump(mode="json", exclude_unset=True)


def record_sha256(document: Mapping[str, Any]) -> str:
    """Return the hash of the record's canonical JSON."""
    return canonical_sha256(dict(document))


def unlisted_tools(
    record: Mapping[str, Any] | None, names: Sequence[str], agent_type: str, pointer: str
) -> list[Issue]:
    """Return an issue for every tool that an agent may not call.

    Args:
        record: the agent's record; None: a Python agent, which has no list.
        names: the tools that somebody wants of it.
        agent_type: for the messages.
        pointer: where the names stand.
    """
    if record is None:
        return []
    listed, servers = record.get("tools") or (), record.get("mcp_servers") or ()
    return [
        _unlisted(name, agent_type, listed, f"{pointer}/{index}")
        for index, name in enumerate(names)
        if name not in listed and not any(name.startswith(f"{server}__") for server in servers)
    ]


def _unlisted(name: str, agent_type: str, listed: Sequence[str], pointer: str) -> Issue:
    near = suggest(name, listed)
    hint = f"did you mean '{near}'?" if near else f"add it to 'tools' of agent '{agent_type}'"
    return Issue("tool-not-listed", f"agent '{agent_type}' may not call the tool '{name}'", pointer, hint)


def _policy_issues(record: AgentRecord) -> list[Issue]:
    """A gate that names no tool of the agent would never close: most likely it is misspelt."""
    gated = record.tool_policy.requires_approval if record.tool_policy is not None else []
    document = record.model_dump(include={"tools", "mcp_servers"})
    found = unlisted_tools(document, gated, record.agent_type, "/tool_policy/requires_approval")
    return [issue for issue in found if gated[int(issue.pointer.rpartition("/")[2])] != "*"]


def _task_tool_issues(record: AgentRecord) -> list[Issue]:
    document = record.model_dump(include={"tools", "mcp_servers"})
    return [
        issue
        for name, task in record.tasks.items()
        for issue in unlisted_tools(document, task.tools or [], record.agent_type, pointer_to(["tasks", name, "tools"]))
    ]


def _adopt_type(raw: dict[str, Any], agent_type: str) -> list[Issue]:
    given = raw.setdefault("agent_type", agent_type)
    if given == agent_type:
        return []
    message = f"the record says {given!r}, the path says '{agent_type}'"
    return [
        Issue("agent-type-mismatch", message, "/agent_type", "leave agent_type out of the body, or make them equal")
    ]


def _task_issues(tasks: Any) -> list[Issue]:
    if not isinstance(tasks, Mapping):
        return []
    issues: list[Issue] = []
    for name, task in tasks.items():
        if not isinstance(task, Mapping):
            continue
        where = pointer_to(["tasks", name])
        if isinstance(task.get("prompt"), str):
            issues += _prompt_issues(task["prompt"], f"{where}/prompt")
        if isinstance(task.get("output_schema"), dict):
            issues += schema_issues(task["output_schema"], f"{where}/output_schema")
    return issues


def _prompt_issues(prompt: str, pointer: str) -> list[Issue]:
    template, errors = collect_template_errors(prompt, pointer=pointer)
    if template is not None and not errors:
        errors = check_references(template.references, roots=PROMPT_ROOTS, step_ids=())
    return [as_issue(error) for error in errors]


def _invalid(issues: list[Issue]) -> InvalidAgent:
    count = "1 error" if len(issues) == 1 else f"{len(issues)} errors"
    first = issues[0] if issues else Issue("invalid-value", "it is not an agent record")
    return InvalidAgent(f"the agent record has {count}: {first.message}", issues=issues)
