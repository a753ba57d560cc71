"""The documentation is true: generated parts are current, links resolve, definitions are valid, expressions hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from orchestrator.agents import check_record
from orchestrator.definition import validate_definition
from orchestrator.embedded.plan import USUAL_PORTS
from orchestrator.expressions import ExpressionError, evaluate, render
from orchestrator.workflows.search_attributes import TYPES
from scripts.generate_reference import EXAMPLES, filled, outdated

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        place: its page and line, for the test's name.
        language: what stands behind the fence.
        text: its content.
    """

    place: str
    language: str
    text: str


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(f"{name_of(page)}:{line}", found[1].strip(), found[2])


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text())
    titles = [found[1].strip().lower().replace("`", "") for found in _HEADING.finditer(text)]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


BLOCKS = list(blocks())
LINKS = [
    (page, link)
    for page in PAGES
    for link in _LINK.findall(_FENCE.sub("", page.read_text()))
    if not re.match(r"[a-z]+:", link)
]
JSON_BLOCKS = [block for block in BLOCKS if block.language.startswith("json")]
CONTEXT: dict[str, Any] = next(json.loads(block.text) for block in BLOCKS if block.language == "json context")
CLAIMS = [
    pytest.param(block.language, *line.split(" ⇒ "), id=f"{block.place} {line.split(' ⇒ ')[0]}")
    for block in BLOCKS
    if block.language in ("expression", "template")
    for line in block.text.strip().split("\n")
]


def test_generated_parts_are_current() -> None:
    late = [name_of(page) for page in outdated()]
    assert late == [], f"run python -m scripts.generate_reference: {late} say what the code no longer says"


def test_a_page_with_another_region_than_the_codes_is_out_of_date() -> None:
    region = "<!-- generated: bounds -->\nold\n<!-- /generated -->"
    assert "old" not in filled(region)
    assert "document-too-large" in filled(region)


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{name_of(page)} {link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    if anchor:
        assert anchor in anchors(target)


@pytest.mark.parametrize("block", JSON_BLOCKS, ids=[block.place for block in JSON_BLOCKS])
def test_a_block_of_json_is_json_and_a_definition_or_record_in_it_is_valid(block: Block) -> None:
    value = json.loads(block.text)
    if isinstance(value, dict) and "agent_type" in value and "step_id" not in value:
        assert check_record(value).agent_type == value["agent_type"]
    if isinstance(value, dict) and "step_id" in value:
        value = {"name": "fragment", "steps": [value]}
    if isinstance(value, dict) and "steps" in value and block.language == "json":
        found = validate_definition(value)
        assert [issue.to_dict() for issue in found.errors] == []


@pytest.mark.parametrize(("language", "source", "claimed"), CLAIMS)
def test_an_expression_gives_what_the_page_says(language: str, source: str, claimed: str) -> None:
    try:
        given = evaluate(source, CONTEXT) if language == "expression" else render(json.loads(source), CONTEXT)
    except ExpressionError as error:
        assert claimed == error.code, error
        return
    assert json.dumps(given) == json.dumps(json.loads(claimed))


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "python" and block.place.startswith("docs/")],
    ids=lambda block: block.place,
)
def test_a_block_of_python_runs(block: Block) -> None:
    exec(compile(block.text, block.place, "exec"), {})


def test_the_operations_page_names_what_the_code_has() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "orchestrator").rglob("*.py"))
    alerts = re.findall(r"^\| `([^`]+)` \|", page.partition("| line | means |")[2].partition("\n\n")[0], re.MULTILINE)
    assert len(alerts) == 4
    assert [line for line in alerts if f'"{line}"' not in source] == []
    assert [name for name in TYPES if f"`{name}`" not in page] == []
    assert [port for port in USUAL_PORTS.values() if str(port) not in page] == []


def test_the_guide_shows_every_example() -> None:
    shown = set(re.findall(r"generated: example/([a-z_]+)", (ROOT / "docs" / "guide.md").read_text()))
    assert shown == {path.stem for path in EXAMPLES.glob("*.json") if path.name.count(".") == 1}
