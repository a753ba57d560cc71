"""Agent records: what is accepted, and every issue of what is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agents.discovery import read_records
from orchestrator.agents.prompts import TaskContext, prompt_messages
from orchestrator.agents.records import AgentRecord, check_record, record_document, record_sha256
from orchestrator.definition.schemas import schema_issues
from orchestrator.execution.errors import InvalidAgent

EXAMPLES = Path(__file__).parents[3] / "examples" / "agents"


def record(**fields: Any) -> dict[str, Any]:
    return {"agent_type": "sales", "tasks": {"qualify": {"prompt": "Judge {{ input.lead.name }}."}}, **fields}


def issues_of(document: Any, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidAgent) as caught:
        check_record(document, **options)
    return {issue.pointer: issue.code for issue in caught.value.issues}


def test_a_sound_record_keeps_only_what_was_said() -> None:
    found = check_record(record(temperature=0))
    assert record_document(found) == record(temperature=0.0)


def test_every_fault_is_reported_at_once_with_its_pointer() -> None:
    document = record(
        temprature=0.5,
        model="no-provider",
        max_output_tokens="many",
        tasks={
            "good": {"prompt": "{{ task }} {{ parameters }} {{ input }} {{ dependencies.a.b }}"},
            "bad": {"prompt": "{{ steps.a.output }} {{ 1 + }}", "output_schema": {"type": "objekt"}, "tool": 1},
            "far/off": {"prompt": "{{ inputs.lead }}"},
            "none": {},
        },
    )
    found = issues_of(document)
    assert found["/temprature"] == "unknown-field"
    assert found["/max_output_tokens"] == "wrong-type"
    assert found["/model"] == "invalid-value"
    assert found["/tasks/bad/tool"] == "unknown-field"
    assert found["/tasks/none/prompt"] == "missing-field"
    assert found["/tasks/bad/prompt"].startswith("E_")
    assert found["/tasks/far~1off/prompt"] == "E_NAME"
    assert found["/tasks/bad/output_schema/type"] == "invalid-schema"
    assert not any(pointer.startswith("/tasks/good") for pointer in found)


def test_a_misspelt_root_of_a_prompt_gets_a_suggestion() -> None:
    with pytest.raises(InvalidAgent) as caught:
        check_record(record(tasks={"qualify": {"prompt": "{{ inputs.lead }}"}}))
    assert "input" in (caught.value.issues[0].hint or "")


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("fallback_models", ["no-provider"], "/fallback_models/0"),
        ("tools", [""], "/tools/0"),
        ("max_turns", 0, "/max_turns"),
        ("max_turns", 101, "/max_turns"),
        ("tool_policy", {"requires_aproval": []}, "/tool_policy/requires_aproval"),
        ("tool_policy", {"approvers": []}, "/tool_policy/approvers"),
        ("retry", {"max_attempts": -1}, "/retry/max_attempts"),
        ("timeouts", {"start_to_close_seconds": 0}, "/timeouts/start_to_close_seconds"),
    ],
)
def test_fields_of_the_loop_are_checked(field: str, value: Any, pointer: str) -> None:
    assert set(issues_of(record(**{field: value}))) == {pointer}


@pytest.mark.parametrize("agent_type", ["", "9lives", "a b", "x" * 65, "ünï", None, 7])
def test_a_type_that_no_step_could_name_is_refused(agent_type: Any) -> None:
    assert "/agent_type" in issues_of(record(agent_type=agent_type))


@pytest.mark.parametrize("document", [None, [], "sales", 7])
def test_what_is_no_object_is_refused(document: Any) -> None:
    assert issues_of(document) == {"": "wrong-type"}


def test_what_is_no_json_or_too_large_is_refused() -> None:
    assert issues_of(record(description="\ud800")) == {"": "invalid-json"}
    assert issues_of(record(instructions="x" * 300_000)) == {"": "record-too-large"}
    assert "/temperature" in issues_of(record(temperature=math.nan))


def test_the_paths_type_fills_in_or_must_equal_the_records() -> None:
    assert check_record({}, agent_type="sales").agent_type == "sales"
    assert issues_of(record(), agent_type="research") == {"/agent_type": "agent-type-mismatch"}


def test_the_hash_ignores_the_order_of_keys_and_sees_every_change() -> None:
    first = record_sha256({"agent_type": "a", "description": "b"})
    assert first == record_sha256({"description": "b", "agent_type": "a"})
    assert first != record_sha256({"description": "c", "agent_type": "a"})


def shipped() -> dict[str, AgentRecord]:
    return {item.agent_type: item for item in read_records(EXAMPLES)}


def test_the_shipped_records_are_valid_and_leave_the_model_to_the_settings() -> None:
    found = shipped()
    assert sorted(found) == ["analyst", "refunds", "research", "sales", "support", "writer"]
    assert all(item.model is None and item.temperature == 0 for item in found.values())
    schemas = [task.output_schema for item in found.values() for task in item.tasks.values()]
    assert all(schema is not None and not schema_issues(schema) for schema in schemas)


@pytest.mark.parametrize(
    "lead", [{"lead": {"name": "Acme Corp", "budget": 50000}}, {}, {"lead": None}, {"lead": "Acme"}]
)
def test_the_shipped_prompts_take_any_lead(lead: Any) -> None:
    for item in shipped().values():
        for task in item.tasks:
            messages = prompt_messages(item, TaskContext(task, {"priority": "high"}, lead, {}))
            assert [message["role"] for message in messages] == ["system", "user"]


def test_the_shipped_prompts_show_priority_lead_and_qualification() -> None:
    found, lead = shipped(), {"lead": {"name": "Acme Corp", "budget": 50000}}
    qualify = prompt_messages(found["sales"], TaskContext("qualify_lead", {"priority": "urgent-7"}, lead, {}))
    assert "urgent-7" in qualify[1]["content"] and "Acme Corp" in qualify[1]["content"]
    dependencies = {"qualify_lead": {"tier": "hot", "score": 83}}
    enrich = prompt_messages(found["research"], TaskContext("enrich_lead", {}, lead, dependencies))
    assert '"score":83' in enrich[1]["content"] and "Acme Corp" in enrich[1]["content"]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidAgent, match="not a folder"):
        read_records(tmp_path / "absent")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InvalidAgent, match=r"a\.json' is not a JSON file"):
        read_records(tmp_path)
    (tmp_path / "a.json").write_text('{"agent_type": "a", "modle": "x"}')
    with pytest.raises(InvalidAgent, match=r"a\.json' is not an agent record: /modle"):
        read_records(tmp_path)


def test_what_an_agent_remembers_is_bounded() -> None:
    memory = check_record(record(memory={"window_messages": 5, "collection": "facts"})).memory
    assert memory is not None
    assert (memory.window_messages, memory.summarise_over_characters, memory.collection) == (5, None, "facts")
    wrong = {"window_messages": 0, "ttl_seconds": 0, "summarise_over_characters": 10, "collection": "a/b", "colour": 1}
    found = issues_of(record(memory=wrong))
    assert {pointer.removeprefix("/memory/") for pointer in found} == set(wrong)
