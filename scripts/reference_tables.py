"""Builds the generated parts of the documentation from the code."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr

import orchestrator.execution.errors_access
import orchestrator.execution.errors_agents
import orchestrator.execution.errors_data
import orchestrator.execution.errors_tools  # noqa: F401 - its leaves belong to the tree
from api.problems import status_of
from orchestrator.agents.records import AgentRecord
from orchestrator.definition import limits, validate_definition
from orchestrator.definition.envelope import Step
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.evaluation import WORK_PER_STEP
from orchestrator.execution.joins import Tally
from orchestrator.execution.state import StepState
from orchestrator.expressions import compile_expression
from orchestrator.expressions.functions import Function
from orchestrator.expressions.functions_dates import DATE_FUNCTIONS
from orchestrator.expressions.functions_json import JSON_FUNCTIONS
from orchestrator.expressions.functions_lists import LIST_FUNCTIONS
from orchestrator.expressions.functions_numbers import NUMBER_FUNCTIONS
from orchestrator.expressions.functions_objects import OBJECT_FUNCTIONS
from orchestrator.expressions.functions_patterns import PATTERN_FUNCTIONS
from orchestrator.expressions.functions_text import TEXT_FUNCTIONS
from orchestrator.expressions.limits import DEFAULT_LIMITS
from orchestrator.expressions.table import FUNCTIONS
from orchestrator.settings import Settings
from scripts import reference_words as words
from scripts.reference_commands import commands
from scripts.reference_fields import bounds_text, code, document, fields, small_parts, step_types, table, type_text

Kind = TypeVar("Kind", bound=OrchestratorError)
ROOT = Path(__file__).parents[1]


class Undescribed(Exception):
    """The code has something that the reference has no words for."""


class _Host:
    """What `now()` and `uuid()` give in the reference."""

    def now(self) -> str:
        """Return the reference's time."""
        return "2026-03-01T09:30:00Z"

    def uuid(self) -> str:
        """Return the reference's id."""
        return "0b8f1f4c-6d0e-4c5e-9a39-2f1b7a6f6f10"


def bounds() -> str:
    """The bounds of the language."""
    rows = [
        ("Document", f"{limits.DOCUMENT_BYTES:,} bytes", "`document-too-large`"),
        ("Steps, nested ones included", f"{limits.STEPS:,}", "`too-many-steps`"),
        ("Nesting of scopes", f"{limits.NESTING}", "`too-deep`"),
        ("`step_id`", "64 characters", "`id-too-long`"),
        ("`workflow_id`", "63 characters", "`id-too-long`"),
        ("Activities in flight in one execution", f"{limits.MAX_PARALLEL_STEPS}", "they queue"),
        ("Awaited children in flight in one execution", f"{limits.CHILDREN_IN_FLIGHT}", "they queue"),
        (
            "Live data: outputs, variables, and what else is held",
            f"{limits.LIVE_BYTES:,} bytes as JSON",
            "`live-data-too-large`",
        ),
        ("One collected output", f"{limits.COLLECTED_BYTES:,} bytes as JSON", "`collected-output-too-large`"),
        ("Any duration", f"{limits.LONGEST_SECONDS:,} s (ten years)", "`invalid-value`, `invalid-step-input`"),
        ("Messages kept for later", f"{limits.SIGNALS_BUFFERED:,}", "the newest is dropped"),
        ("Children inside children", f"{limits.CHILD_DEPTH}", "`child-too-deep`"),
    ]
    return table(["what", "at most", "else"], rows)


def policies() -> str:
    """The built-in policies."""
    rows = [
        ("`retry.max_attempts`", f"{limits.MAX_ATTEMPTS}"),
        ("`retry.initial_interval_seconds`", f"{limits.INITIAL_INTERVAL_SECONDS:g}"),
        ("`retry.backoff_coefficient`", f"{limits.BACKOFF_COEFFICIENT:g}"),
        ("`retry.max_interval_seconds`", f"{limits.MAX_INTERVAL_SECONDS:g}"),
        (
            "`timeouts.start_to_close_seconds`",
            f"{limits.START_TO_CLOSE_SECONDS:g}; `agent_task` {limits.MODEL_START_TO_CLOSE_SECONDS:g}; "
            f"`activity` {limits.ACTIVITY_START_TO_CLOSE_SECONDS:g}",
        ),
        ("`timeouts.schedule_to_close_seconds`", f"{limits.SCHEDULE_TO_CLOSE_SECONDS:,.0f}"),
        ("`timeouts.schedule_to_start_seconds`", "none"),
        ("`timeouts.heartbeat_seconds`", f"{limits.HEARTBEAT_SECONDS:g}"),
        ("`timeouts.cleanup_seconds` (document)", f"{limits.CLEANUP_SECONDS:,.0f}"),
    ]
    return table(["policy", "built in"], rows)


def joins() -> str:
    """What each join does with two dependencies, as the machine decides."""
    names: dict[str, Any] = {"`all`": "all", "`any`": "any", "`at_least: 2`": {"at_least": 2}, "`settled`": "settled"}
    states: list[tuple[StepState, ...]] = [
        ("completed", "completed"),
        ("completed",),
        ("completed", "skipped"),
        ("completed", "failed"),
        ("skipped",),
        ("skipped", "skipped"),
        ("failed", "skipped"),
    ]
    rows = []
    for known in states:
        shown = ["failed, tolerated" if state == "failed" else state for state in (*known, "still open")][:2]
        rows.append([*shown, *(_verdict(join, known) for join in names.values())])
    return table(["first", "second", *names], rows)


def _verdict(join: Any, known: Sequence[StepState]) -> str:
    plain = [{"step_id": name, "step_type": "transform", "value": 1} for name in ("a", "b")]
    last = {"step_id": "c", "step_type": "transform", "value": 1, "depends_on": ["a", "b"], "join": join}
    compiled = validate_definition({"name": "joins", "steps": [*plain, last]}).compiled
    if compiled is None:
        raise Undescribed(f"the join {join} is not valid any more")
    tally = Tally(compiled.root.steps["c"], 2, 0)
    for name, state in zip("ab", known, strict=False):
        tally.count(name, state)
    return {"wait": "waits", "run": "**runs**", "skip": "is skipped"}[tally.verdict()]


# --- codes --------------------------------------------------------------------------------------------------------


def issue_codes() -> str:
    """The codes that validation gives, checked against the source."""
    found = set(_texts("orchestrator/definition", ("Issue", "_error", "_warning", "_at")))
    _require("validation codes", found - {"schema-mismatch"}, words.ISSUES)
    return table(["code", "meaning"], ([f"`{code}`", text] for code, text in sorted(words.ISSUES.items())))


def error_types() -> str:
    """The types of errors that steps and executions fail with."""
    found = set(_texts("orchestrator/execution", ("ErrorInfo", "StepFailure")))
    found |= set(_texts("orchestrator/workflows", ("ErrorInfo", "ApplicationError")))
    _require("error types", found - words.UNSEEN, words.ERRORS)
    rows = {code: (text, "") for code, text in words.ERRORS.items()}
    for leaf in _leaves(StepFailure):
        said = (leaf.__doc__ or "").strip().split("\n")[0]
        known = rows.get(leaf.code, (said, ""))[0]
        rows[leaf.code if leaf.code != "http-status" else "http-<status>"] = (known, "yes" if leaf.retryable else "no")
    rows["http-<status>"] = (rows["http-<status>"][0], "408, 409, 425, 429, 5xx")
    return table(["type", "meaning", "tried again"], ([f"`{code}`", *rest] for code, rest in sorted(rows.items())))


def problem_codes() -> str:
    """The codes of the API's problems; what steps fail with has a table of its own."""
    rows: dict[str, tuple[str, int]] = {}
    for kind in _leaves(OrchestratorError):
        said = (kind.__doc__ or "").strip().split("\n")[0]
        if not issubclass(kind, StepFailure) and not said.startswith("The root of"):
            rows.setdefault(kind.code, (said, status_of(kind("said"))))
    return table(
        ["code", "status", "meaning"],
        ([f"`{code}`", str(status), said] for code, (said, status) in sorted(rows.items())),
    )


def _leaves(root: type[Kind]) -> Iterator[type[Kind]]:
    for leaf in root.__subclasses__():
        yield leaf
        yield from _leaves(leaf)


def _texts(folder: str, calls: tuple[str, ...]) -> Iterator[str]:
    """Give the kebab-case texts that are passed as codes to some functions in a folder's source."""
    for path in sorted((ROOT / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _called(node) in calls:
                given = [*node.args, *(item.value for item in node.keywords if item.arg in ("type", "code"))]
                yield from (value for item in given if (value := _kebab(item)) is not None)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _kebab(node: ast.expr) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    plain = isinstance(value, str) and value.replace("-", "").isalpha() and value.islower() and "-" in value
    return value if plain and isinstance(value, str) else None


def _require(what: str, found: set[str], known: Mapping[str, Any]) -> None:
    missing = sorted(found - set(known))
    if missing:
        raise Undescribed(f"{what} without words in scripts/reference_words.py: {', '.join(missing)}")


# --- expressions --------------------------------------------------------------------------------------------------

_GROUPS = {
    "Lists": LIST_FUNCTIONS,
    "Objects": OBJECT_FUNCTIONS,
    "Text": TEXT_FUNCTIONS,
    "Patterns": PATTERN_FUNCTIONS,
    "Numbers": NUMBER_FUNCTIONS,
    "JSON and types": JSON_FUNCTIONS,
    "Dates and ids": DATE_FUNCTIONS,
}


def functions() -> str:
    """The function table; every example is evaluated."""
    _require("functions", set(FUNCTIONS), words.FUNCTIONS)
    return "\n\n".join(f"### {title}\n\n{_function_table(group)}" for title, group in _GROUPS.items())


def _function_table(group: Mapping[str, Function]) -> str:
    rows = []
    for name, function in group.items():
        example, remark = words.FUNCTIONS[name]
        value = compile_expression(example).evaluate({"input": {}}, host=_Host())
        rows.append([f"`{function.usage}`", f"`{example}` → {code(value)}", remark])
    return table(["function", "example", "remark"], rows)


def expression_limits() -> str:
    """The limits of one evaluation."""
    found = DEFAULT_LIMITS
    rows = [
        ("One expression", f"{found.expression_bytes:,} bytes"),
        ("All texts with `{{` of one template", f"{found.template_bytes:,} bytes"),
        ("Nesting of an expression", f"{found.nesting} levels"),
        ("Work of one evaluation", f"{found.work_units:,} units; a loop is charged before it runs"),
        ("Work of all expressions with which a step begins or ends", f"{WORK_PER_STEP:,} units"),
        ("Memory of one evaluation", f"{found.memory_units:,} units (characters + 8 × elements)"),
        ("Nesting of a result", f"{found.result_nesting} levels"),
    ]
    return table(["what", "at most"], rows)


# --- settings -----------------------------------------------------------------------------------------------------


def settings() -> str:
    """The table of settings."""
    said = {**_docstrings(ROOT / "orchestrator/settings.py", "Settings"), **words.SETTINGS}
    _require("settings", set(Settings.model_fields), said)
    whole = Settings.model_json_schema()
    rows = []
    for name, info in Settings.model_fields.items():
        schema = whole["properties"][name]
        kind = "secret" if SecretStr in getattr(info.annotation, "__args__", ()) else type_text(schema, whole["$defs"])
        default = schema.get("default")
        if isinstance(default, bool):
            default = json.dumps(default)
        shown = "" if default is None or default in ([], {}, ()) else f"`{default}`"
        notes = ". ".join(filter(None, [said[name].rstrip("."), bounds_text(schema)])) + "."
        rows.append([f"`{name.upper()}`", kind, shown, notes])
    return table(["variable", "type", "default", "meaning"], rows)


def _docstrings(path: Path, class_name: str) -> dict[str, str]:
    """Return the strings that stand below a class's fields."""
    found: dict[str, str] = {}
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ClassDef) or node.name != class_name:
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = after.value.value if _is_text(after) else None  # type: ignore[attr-defined]
                if text:
                    found[field.target.id] = " ".join(text.split())
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


REGIONS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "agent-record": lambda: fields(AgentRecord),
    "document": document,
    "envelope": lambda: fields(Step),
    "step-types": step_types,
    "parts": small_parts,
    "bounds": bounds,
    "policies": policies,
    "joins": joins,
    "issue-codes": issue_codes,
    "error-types": error_types,
    "problem-codes": problem_codes,
    "commands": commands,
    "functions": functions,
    "expression-limits": expression_limits,
}
"""The generated regions by name."""
