"""The Python builder writes every step type, steps inside steps too, and names what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.builder import AgentWorkflow, AgentWorkflowStep, AgentWorkflowStepType
from orchestrator.definition import validate_definition
from orchestrator.definition.models import STEP_TYPES
from tests.support.examples import EXAMPLES

GUIDE = sorted(path for path in (EXAMPLES / "guide").glob("*.json") if path.name.count(".") == 1)
KEYWORDS = {"as", "while", "from", "in", "is"}


def built(value: Any) -> Any:
    """Return a value of a definition with each step in it as a step of the builder."""
    if isinstance(value, list):
        return [built(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {f"{key}_" if key in KEYWORDS else key: built(inner) for key, inner in value.items()}
    return AgentWorkflowStep(**fields) if {"step_id", "step_type"} <= value.keys() else {**value, **fields}


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.stem)
def test_what_json_can_say_the_builder_can_say(path: Any) -> None:
    definition = json.loads(path.read_text())
    rest = {key: value for key, value in definition.items() if key != "steps"}
    workflow = AgentWorkflow(**{key: built(value) for key, value in rest.items()})
    for step in definition["steps"]:
        workflow.add_step(built(step))
    assert workflow.definition == definition


def test_the_builder_knows_the_step_types_of_the_language() -> None:
    assert [*AgentWorkflowStepType] == [*STEP_TYPES]


def test_a_misspelt_step_type_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"step 'a': no step type 'agent_tsk'; did you mean 'agent_task'\?"):
        AgentWorkflowStep("a", "agent_tsk")


def test_a_word_of_pythons_takes_an_underscore() -> None:
    inner = AgentWorkflowStep("look", AgentWorkflowStepType.TRANSFORM, value=1)
    step = AgentWorkflowStep("poll", AgentWorkflowStepType.LOOP, while_="true", max_iterations=2, steps=[inner])
    definition = AgentWorkflow(name="Poll").add_step(step).definition
    assert definition["steps"][0]["while"] == "true"
    assert validate_definition(definition).errors == []


async def test_validation_tells_the_place_of_a_fault_inside_a_block() -> None:
    inner = AgentWorkflowStep("look", "transform", valu=1)
    workflow = AgentWorkflow(name="Poll").add_step(AgentWorkflowStep("each", "foreach", items=[1], steps=[inner]))
    assert {issue.pointer for issue in (await workflow.validate()).errors} >= {"/steps/0/steps/0/valu"}
