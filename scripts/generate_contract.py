"""Writes the contract from the code: `python -m scripts.generate_contract [--check | --release]`.

`docs/reference/openapi.json` is the OpenAPI document of the API as it stands, `orchestrator/sdk/documents/` the
types of its answers for the client. `--check` writes nothing and exits with 1 where one of them is out of date.
`docs/reference/openapi-v1.json` is what was promised with the last release: a test refuses changes that break it.
`--release` writes it, without the words, from the present contract.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from api.app import create_app
from orchestrator.settings import Settings
from scripts.contract_types import document_modules

ROOT = Path(__file__).parents[1]
OPENAPI = ROOT / "docs" / "reference" / "openapi.json"
RELEASED = ROOT / "docs" / "reference" / "openapi-v1.json"
DOCUMENTS = ROOT / "orchestrator" / "sdk" / "documents"
_WORDS = {"description", "summary", "examples", "example", "tags", "title", "default"}
_NAMES = {"properties", "schemas", "paths", "responses", "content"}


def contract() -> dict[str, Any]:
    """Return the OpenAPI document of the API."""
    return create_app(Settings(_env_file=None)).openapi()


def openapi_text(document: dict[str, Any]) -> str:
    """Return the snapshot of an OpenAPI document."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def released_text(document: dict[str, Any]) -> str:
    """Return the shapes of an OpenAPI document, without examples and words."""
    return json.dumps(_shapes(document), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def outdated() -> dict[Path, str]:
    """Return the files that the code has overtaken, with what they should hold."""
    document = contract()
    fresh = {OPENAPI: openapi_text(document), **document_modules(document, DOCUMENTS)}
    return {path: text for path, text in fresh.items() if not path.exists() or path.read_text() != text}


def main(arguments: list[str]) -> int:
    """Write or check; gives the exit code."""
    if "--release" in arguments:
        RELEASED.write_text(released_text(contract()))
        print(f"wrote {RELEASED.relative_to(ROOT)}")
    found = outdated()
    for path, text in found.items():
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date; run python -m scripts.generate_contract", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if found and "--check" in arguments else 0


def _shapes(value: Any, *, names: bool = False) -> Any:
    """Drop what says nothing about shapes; `names`: the keys of this mapping are names of fields, not keywords."""
    if isinstance(value, list):
        return [_shapes(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if names or key not in _WORDS}
    return {key: _shapes(item, names=key in _NAMES and not names) for key, item in kept.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
