"""Fills the generated regions of the documentation: `python -m scripts.generate_reference [--check]`.

The contract (`scripts.generate_contract`) is written along.

A region stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; `example/NAME` shows a file of
`examples/guide`. `--check` writes nothing and exits with 1 where a page is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scripts import generate_contract
from scripts.reference_tables import REGIONS, ROOT, Undescribed

DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples" / "guide"
_REGION = re.compile(r"(<!-- generated: (?P<name>[a-z0-9_/-]+) -->\n)(?P<body>.*?)(<!-- /generated -->)", re.DOTALL)


def region(name: str) -> str:
    """Return the content of one region.

    Raises:
        Undescribed: nobody knows the name, or the code has something without words.
    """
    if name.startswith("example/"):
        path = EXAMPLES / f"{name.removeprefix('example/')}.json"
        if not path.is_file():
            raise Undescribed(f"the example {path.name} does not exist in examples/guide")
        return f"```json\n{path.read_text().strip()}\n```"
    if name not in REGIONS:
        raise Undescribed(f"no region '{name}'; there are {', '.join(REGIONS)} and example/NAME")
    return REGIONS[name]()


def filled(text: str) -> str:
    """Return a page with its regions made anew."""
    return _REGION.sub(lambda found: f"{found[1]}\n{region(found['name'])}\n\n{found[4]}", text)


def outdated() -> dict[Path, str]:
    """Return the pages and files that the code has overtaken, with what they should be."""
    pages = {path: path.read_text() for path in sorted(DOCS.rglob("*.md"))}
    late = {path: fresh for path, text in pages.items() if (fresh := filled(text)) != text}
    return late | generate_contract.outdated()


def main(arguments: list[str]) -> int:
    """Write or check; gives the exit code."""
    try:
        found = outdated()
    except Undescribed as problem:
        print(f"Error: {problem}.", file=sys.stderr)
        return 1
    if "--check" in arguments:
        for path in found:
            print(f"{path.relative_to(ROOT)} is out of date; run python -m scripts.generate_reference", file=sys.stderr)
        return 1 if found else 0
    for path, text in found.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
