"""What JavaScript, Python and Jinja call what a function or an operator of ours does."""

from __future__ import annotations

SAME = {
    "ceiling": "ceil",
    "dumps": "to_json",
    "every": "all",
    "float": "number",
    "includes": "contains",
    "isoformat": "date_format",
    "length": "len",
    "loads": "from_json",
    "parsefloat": "number",
    "parseint": "int",
    "parsejson": "from_json",
    "select": "filter",
    "size": "len",
    "some": "any",
    "sorted": "sort",
    "str": "string",
    "strftime": "date_format",
    "stringify": "to_json",
    "strip": "trim",
    "substr": "slice",
    "substring": "slice",
    "test": "matches",
    "tofixed": "round",
    "tolist": "values",
    "tolowercase": "lower",
    "tostring": "string",
    "touppercase": "upper",
    "where": "filter",
}
_WRITTEN = {
    "append": "[1] + [2] joins two lists",
    "concat": "'+' joins texts, and lists",
    "format": "write the values into text: 'Dear ' + input.name; dates by date_format",
    "get": "write x['key'] ?? 'otherwise'",
    "push": "[1] + [2] joins two lists",
}


def foreign_hint(name: str) -> str | None:
    """Return how to write here what another language calls by this name; None where nobody knows.

    Args:
        name: A function that does not exist here.
    """
    folded = name.replace("_", "").lower()
    if folded in SAME:
        return f"here it is '{SAME[folded]}'"
    return _WRITTEN.get(folded)
