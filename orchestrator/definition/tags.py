"""Tags, which are searched as `key=value`."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.definition.issues import Issue, pointer_to


def tag_key_issues(tags: Mapping[str, str]) -> list[Issue]:
    """Return an issue for each key that cannot be told from its value: the first `=` of `key=value` ends the key."""
    return [
        Issue(
            "invalid-tag",
            f"the tag key {key!r} contains '=', which ends the key where tags are searched as key=value",
            pointer_to(["tags", key]),
            "use another character, such as '-' or '.'; values may contain '='",
        )
        for key in tags
        if "=" in key
    ]
