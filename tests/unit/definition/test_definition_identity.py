"""A definition's hash and id: the same for the same meaning, whoever wrote the JSON."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest

from orchestrator.definition import (
    canonical_json,
    canonical_sha256,
    compile_definition,
    derive_workflow_id,
    validate_definition,
)
from tests.unit.definition.documents import document, rich, value


def shuffled(node: Any, chance: random.Random) -> Any:
    """Return the same JSON with its keys in another order."""
    if isinstance(node, dict):
        keys = list(node)
        chance.shuffle(keys)
        return {key: shuffled(node[key], chance) for key in keys}
    return [shuffled(item, chance) for item in node] if isinstance(node, list) else node


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    # The RFC's own sample, section 3.2.2 and 3.2.3.
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(sample).decode() == expected


def test_the_hash_of_a_known_document_never_changes() -> None:
    found = validate_definition({"name": "Lead Processing", "steps": [value("a", {"b": 1.0, "ä": "€"})]})
    assert found.sha256 == canonical_sha256(found.document)
    written_by_hand = (
        '{"name":"Lead Processing","steps":[{"step_id":"a","step_type":"transform","value":{"b":1,"ä":"€"}}],'
        '"workflow_id":"lead-processing"}'
    )
    assert found.sha256 == hashlib.sha256(written_by_hand.encode()).hexdigest()
    assert found.sha256 == "75b8d0eb912b8dc2d6d73bf645d74ba09fbc951245cd4c7744701d6583f618f3"


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_keys_does_not_change_the_hash(seed: int) -> None:
    first, second = validate_definition(rich()), validate_definition(shuffled(rich(), random.Random(seed)))
    assert first.sha256 == second.sha256
    assert first.workflow_id == second.workflow_id


def test_spellings_of_one_number_and_one_text_have_one_hash() -> None:
    one = json.loads('{"name": "n", "steps": [{"step_id": "a", "step_type": "transform", "value": [1.0, "\\u00e9"]}]}')
    other = json.loads('{"name": "n", "steps": [{"step_id": "a", "step_type": "transform", "value": [1, "é"]}]}')
    assert validate_definition(one).sha256 == validate_definition(other).sha256


@pytest.mark.parametrize(
    "other",
    [
        document(value("a", 2)),
        document(value("a"), description="x"),
        document(value("a"), value("b")),
        document(value("a", when=True)),
        document(value("a"), workflow_id="m"),
    ],
)
def test_another_content_has_another_hash(other: dict[str, Any]) -> None:
    assert validate_definition(other).sha256 != validate_definition(document(value("a"))).sha256


def test_the_order_of_steps_is_content() -> None:
    assert (
        validate_definition(document(value("a"), value("b"))).sha256
        != validate_definition(document(value("b"), value("a"))).sha256
    )


def test_a_written_workflow_id_hashes_like_the_derived_one() -> None:
    derived = validate_definition({"name": "Lead Processing", "steps": [value("a")]})
    written = validate_definition({"name": "Lead Processing", "workflow_id": "lead-processing", "steps": [value("a")]})
    assert derived.sha256 == written.sha256
    assert derived.document == written.document


def test_validation_does_not_change_what_was_sent() -> None:
    sent = rich()
    validate_definition(sent)
    assert sent == rich()


def test_a_stored_document_compiles_again_to_the_same() -> None:
    found = validate_definition(rich())
    again = compile_definition(found.document, found.sha256 or "")
    assert found.compiled is not None
    assert again.sha256 == found.sha256
    assert list(again.steps) == list(found.compiled.steps)
    assert {name: step.inferred for name, step in again.steps.items()} == {
        name: step.inferred for name, step in found.compiled.steps.items()
    }


@pytest.mark.parametrize(
    ("name", "workflow_id"),
    [
        ("Lead Processing", "lead-processing"),
        ("lead_processing", "lead_processing"),
        ("  Lead   Processing!  ", "lead-processing"),
        ("A/B testing (v2)", "a-b-testing-v2"),
        ("Überweisung", "berweisung"),
        ("Straße 7", "stra-e-7"),
        ("--x--", "x"),
        ("__x__", "x"),
        ("7 days", "7-days"),
        ("a" * 100, "a" * 63),
        ("a" * 62 + " b", "a" * 62),
        ("日本語", ""),
        ("***", ""),
        ("-", ""),
        ("ΑΒΓ abc", "abc"),
        ("K\u212a", "kk"),
        ("x\ny", "x-y"),
    ],
)
def test_a_workflow_id_is_derived_from_the_name(name: str, workflow_id: str) -> None:
    assert derive_workflow_id(name) == workflow_id
    found = validate_definition({"name": name, "steps": [value("a")]})
    assert found.workflow_id == (workflow_id or None)
    assert found.valid == bool(workflow_id)


def test_inferred_dependencies_are_those_that_expressions_name_and_depends_on_does_not() -> None:
    found = validate_definition(
        document(
            value("a"),
            value("b"),
            value("c", {"x": "{{ steps.a.output }}", "y": "{{ steps.b.output ?? 1 }}"}, depends_on=["a"]),
            value("d", when="steps.c.status == 'completed'", output="{{ result }}{{ steps.a.output }}"),
        )
    )
    assert found.inferred_dependencies == {"c": ["b"], "d": ["c", "a"]}
    assert found.compiled is not None
    assert found.compiled.steps["c"].inferred == {"b": False}
    assert found.compiled.steps["d"].inferred == {"c": False, "a": True}
