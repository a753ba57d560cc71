"""What a change of the OpenAPI document breaks for those who use the API, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_REF = "#/components/schemas/"
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_RULES = ("pattern", "format", "const", "multipleOf", "uniqueItems", "propertyNames")
"""What a value must also satisfy; of a rule that is another one now nobody can say that it takes all that it took."""
Document = dict[str, Any]


def breaking_changes(old: Document, new: Document) -> list[str]:
    """Return a sentence for everything that clients of the old document cannot rely on any more.

    Requests may not lose a field, demand one more, or take less of a field; answers may not lose a field, leave one
    out that was promised, or give something of another type. More operations, optional fields and values are welcome.
    """
    before, after = _operations(old), _operations(new)
    found: list[str] = []
    for where, operation in before.items():
        if where not in after:
            found.append(f"{where} is gone")
            continue
        found += _operation_changes(where, _Pair(old, new), operation, after[where])
    return sorted(set(found))


class _Pair:
    """Two documents, to resolve references in."""

    def __init__(self, old: Document, new: Document) -> None:
        self._schemas = [document.get("components", {}).get("schemas", {}) for document in (old, new)]
        self._seen: set[tuple[str, str, bool]] = set()

    def resolved(self, side: int, schema: Document) -> Document:
        reference = schema.get("$ref")
        if reference is None:
            return schema
        found: Document = self._schemas[side][str(reference).removeprefix(_REF)]
        return found

    def first_visit(self, old: Document, new: Document, request: bool) -> bool:
        """Whether this pair of named schemas was not compared yet: they may hold themselves."""
        if "$ref" not in old or "$ref" not in new:
            return True
        key = (old["$ref"], new["$ref"], request)
        known = key in self._seen
        self._seen.add(key)
        return not known


def _operations(document: Document) -> dict[str, Document]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _operation_changes(where: str, pair: _Pair, old: Document, new: Document) -> Iterator[str]:
    if old.get("operationId") != new.get("operationId"):
        yield f"{where} is called {new.get('operationId')!r}, not {old.get('operationId')!r}"
    yield from _parameter_changes(where, pair, old, new)
    yield from _body_changes(where, pair, old, new)
    for status, response in old["responses"].items():
        if not status.startswith("2"):
            continue
        if status not in new["responses"]:
            yield f"{where} does not answer {status} any more"
            continue
        for media, content in response.get("content", {}).items():
            other = new["responses"][status].get("content", {}).get(media)
            if other is None:
                yield f"{where} does not answer {status} as {media} any more"
            else:
                yield from _changes(f"{where}, answer {status}", pair, _schema(content), _schema(other), request=False)


def _parameter_changes(where: str, pair: _Pair, old: Document, new: Document) -> Iterator[str]:
    before, after = (
        {(item["in"], item["name"]): item for item in operation.get("parameters", ())} for operation in (old, new)
    )
    for key, parameter in before.items():
        place = f"{where}, {key[0]} parameter '{key[1]}'"
        if key not in after:
            yield f"{place} is gone"
            continue
        if after[key].get("required") and not parameter.get("required"):
            yield f"{place} must be given now"
        yield from _changes(place, pair, _schema(parameter), _schema(after[key]), request=True)
    for key, parameter in after.items():
        if key not in before and parameter.get("required"):
            yield f"{where} demands the new {key[0]} parameter '{key[1]}'"


def _body_changes(where: str, pair: _Pair, old: Document, new: Document) -> Iterator[str]:
    before, after = old.get("requestBody"), new.get("requestBody")
    if after is not None and after.get("required") and not (before or {}).get("required"):
        yield f"{where} demands a body now"
    for media, content in (before or {}).get("content", {}).items():
        other = (after or {}).get("content", {}).get(media)
        if other is None:
            yield f"{where} takes no {media} any more"
        else:
            yield from _changes(f"{where}, body", pair, _schema(content), _schema(other), request=True)


def _schema(holder: Document) -> Document:
    found: Document = holder.get("schema", {})
    return found


def _changes(place: str, pair: _Pair, old: Document, new: Document, *, request: bool) -> Iterator[str]:
    if not pair.first_visit(old, new, request):
        return
    old, new = pair.resolved(0, old), pair.resolved(1, new)
    yield from _value_changes(place, pair, old, new, request=request)
    before, after = old.get("properties", {}), new.get("properties", {})
    demanded, promised = set(new.get("required", ())), set(old.get("required", ()))
    for name, field in before.items():
        if name not in after:
            yield f"{place}: the field '{name}' is gone"
            continue
        if request and name in demanded - promised:
            yield f"{place}: the field '{name}' must be given now"
        if not request and name in promised - demanded:
            yield f"{place}: the field '{name}' may be absent now"
        yield from _changes(f"{place}, field '{name}'", pair, field, after[name], request=request)
    if request:
        yield from (f"{place}: demands the new field '{name}'" for name in sorted(demanded - set(before)) if before)
    if request:
        yield from _pattern_changes(place, pair, old, new)
    for part in ("items", "additionalProperties"):
        if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
            yield from _changes(f"{place}, {part}", pair, old[part], new[part], request=request)


def _pattern_changes(place: str, pair: _Pair, old: Document, new: Document) -> Iterator[str]:
    before, after = old.get("patternProperties", {}), new.get("patternProperties", {})
    for names, field in before.items():
        if names not in after:
            yield f"{place}: fields named {names} are described no more"
        else:
            yield from _changes(f"{place}, fields named {names}", pair, field, after[names], request=True)


def _value_changes(place: str, pair: _Pair, old: Document, new: Document, *, request: bool) -> Iterator[str]:
    before, after = (_kinds(pair, side, schema) for side, schema in enumerate((old, new)))
    # Who sends needs all that it sent before to be taken; who reads must meet nothing that it did not meet before.
    lost = before - after if request else after - before
    if "any" not in (after if request else before) and lost:
        verb = "is not taken any more" if request else "may come now"
        yield f"{place}: {' or '.join(sorted(lost))} {verb}"
    values, others = old.get("enum"), new.get("enum")
    if request and others is not None and (values is None or set(values) - set(others)):
        gone = sorted(map(str, set(values or ()) - set(others))) or ["any other value"]
        yield f"{place}: {', '.join(gone)} is not taken any more"
    if request:
        yield from _bound_changes(place, old, new)
    # A field that may be null now holds what it was as one of its options.
    options = new.get("anyOf") or ([new] if "anyOf" in old else ())
    for option in old.get("anyOf") or ([old] if "anyOf" in new else ()):
        twins = [other for other in options if _is_twin(option, other)]
        twin = next((other for other in twins if other.get("format") == option.get("format")), *twins[:1] or [None])
        if twin is not None:
            yield from _changes(place, pair, option, twin, request=request)


def _is_twin(option: Document, other: Document) -> bool:
    """Whether two options are versions of each other: by name, else by type."""
    key = "$ref" if "$ref" in option or "$ref" in other else "type"
    return bool(option.get(key) == other.get(key))


def _bound_changes(place: str, old: Document, new: Document) -> Iterator[str]:
    """Yield what is refused now and was taken: past a bound that came closer, or by another rule."""
    for bound in _UPPER + _LOWER:
        before, after = old.get(bound), new.get(bound)
        sign = 1 if bound in _UPPER else -1
        if after is not None and (before is None or after * sign < before * sign) and "anyOf" not in old:
            yield f"{place}: {bound} is {after}, not {'absent' if before is None else before}"
    for rule in _RULES:
        if new.get(rule) not in (None, False, old.get(rule)) and "anyOf" not in old:
            yield f"{place}: {rule} is {new[rule]} now, not {old.get(rule, 'absent')}"
    if (
        new.get("additionalProperties") is False
        and old.get("additionalProperties") is not False
        and "properties" in old
    ):
        yield f"{place}: fields that it does not name are refused now"


def _kinds(pair: _Pair, side: int, schema: Document) -> set[str]:
    schema = pair.resolved(side, schema)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return set().union(*(_kinds(pair, side, option) for option in options))
    kind = schema.get("type", "any")
    kinds = set(kind) if isinstance(kind, list) else {kind}
    # Whoever takes or meets numbers takes or meets integers.
    return kinds | {"integer"} if "number" in kinds else kinds
