"""Templates: JSON values whose strings hold expressions."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.expression import Expression, contained, parse
from orchestrator.expressions.limits import DEFAULT_LIMITS, Limits
from orchestrator.expressions.meter import Evaluation, Host, Json, Meter, too_deep
from orchestrator.expressions.parts import (
    Part,
    SecretSlot,
    Slots,
    list_part,
    mixed_part,
    object_part,
    secret_part,
    whole_part,
)
from orchestrator.expressions.references import Reference

_LITERAL = "$literal"


class Template:
    """A compiled template, immutable and free of state.

    Attributes:
        references: The root names that its expressions read.
        is_literal: Whether rendering returns the value unchanged: it has neither expressions nor `$literal`.
        has_secrets: Whether it needs `render_with_secrets`.
    """

    __slots__ = ("_limits", "_part", "_pointer", "has_secrets", "is_literal", "references")

    def __init__(
        self,
        part: Part,
        pointer: str,
        limits: Limits,
        references: tuple[Reference, ...],
        is_literal: bool,
        has_secrets: bool,
    ) -> None:
        """Hold compiled parts; `compile_template` is the way in."""
        self._part = part
        self._pointer = pointer
        self._limits = limits
        self.references = references
        self.is_literal = is_literal
        self.has_secrets = has_secrets

    def render(
        self,
        context: Mapping[str, Json],
        *,
        host: Host | None = None,
        meter: Meter | None = None,
        limits: Limits | None = None,
    ) -> Json:
        """Return the value with its expressions replaced by what they give; one evaluation for all of them.

        Args:
            context: Values of the root names; read, never changed, and possibly shared with the result.
            host: Supplies `now()` and `uuid()`.
            meter: Counts the work of the workflow activation.
            limits: Instead of those it was compiled with.

        Raises:
            ExpressionError: Whatever goes wrong; `E_NAME` when the template has secrets.
        """
        return self._render(context, None, host, meter, limits)

    def render_with_secrets(
        self,
        context: Mapping[str, Json],
        *,
        host: Host | None = None,
        meter: Meter | None = None,
        limits: Limits | None = None,
    ) -> tuple[Json, list[SecretSlot]]:
        """Return the value, null where a string needs a secret, and what belongs there.

        Raises:
            ExpressionError: Whatever goes wrong.
        """
        slots: list[SecretSlot] = []
        return self._render(context, slots, host, meter, limits), slots

    def _render(
        self,
        context: Mapping[str, Json],
        slots: Slots,
        host: Host | None,
        meter: Meter | None,
        limits: Limits | None,
    ) -> Json:
        state = Evaluation(context)
        state.host = host
        state.limit(limits or self._limits)
        try:
            return self._part(state, slots)
        except ExpressionError as error:
            error.pointer = error.pointer or self._pointer
            raise
        except Exception as error:
            found = contained(error)
            found.pointer = self._pointer
            raise found from None
        finally:
            if meter is not None:
                meter.work += state.work


class _Builder:
    """Compiles one template value and keeps every error on the way."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self.errors: list[ExpressionError] = []
        self.references: list[Reference] = []
        self.unwrapped = False
        self.has_secrets = False

    def value(self, value: Json, pointer: str, place: str, depth: int) -> Part | None:
        """Return the compiled value, or `None` for a literal.

        Args:
            value: The template value.
            pointer: Where it stands in the document.
            place: Where it stands in the rendered value.
            depth: Levels above it.
        """
        if isinstance(value, str):
            return self._string(value, pointer, place, depth) if "{{" in value else None
        if not isinstance(value, list | dict):
            return None
        if depth >= self._limits.result_nesting:
            error = too_deep(self._limits.result_nesting)
            error.pointer = pointer
            self.errors.append(error)
            return None
        if isinstance(value, list):
            items = [self.value(item, f"{pointer}/{i}", f"{place}/{i}", depth + 1) for i, item in enumerate(value)]
            return None if all(item is None for item in items) else list_part(value, items)
        if _LITERAL in value:
            return self._literal(value, pointer)
        fields = {
            key: self.value(item, f"{pointer}/{_escape(key)}", f"{place}/{_escape(key)}", depth + 1)
            for key, item in value.items()
        }
        return None if all(part is None for part in fields.values()) else object_part(value, fields)

    def _literal(self, value: dict[str, Json], pointer: str) -> Part | None:
        if len(value) > 1:
            error = ExpressionError(
                "E_SYNTAX", "'$literal' stands alone in its object", pointer, hint="put the other fields inside it"
            )
            self.errors.append(error)
            return None
        self.unwrapped = True
        content = value[_LITERAL]
        return lambda state, slots: content

    def _string(self, text: str, pointer: str, place: str, depth: int) -> Part | None:
        self._bytes += len(text.encode("utf-8", "surrogatepass"))
        if self._bytes > self._limits.template_bytes:
            if not any(error.code == "E_LIMIT" and error.expression is None for error in self.errors):
                message = f"the template is longer than {self._limits.template_bytes} bytes"
                self.errors.append(ExpressionError("E_LIMIT", message, pointer))
            return None
        pieces: list[str | Expression] = []
        position = 0
        while (at := text.find("{{", position)) >= 0:
            if at > position:
                pieces.append(text[position:at])
            found, position = parse(text, at + 2, at, True, pointer, self._limits, True)
            if isinstance(found, ExpressionError):
                self.errors.append(found)
                if position < 0:
                    return None
                continue
            self.references.extend(found.references)
            pieces.append(found)
        if position < len(text):
            pieces.append(text[position:])
        expressions = [piece for piece in pieces if isinstance(piece, Expression)]
        if any(piece.secret is not None for piece in expressions):
            self.has_secrets = True
            return secret_part(pieces, place, pointer)
        if len(pieces) == 1 and expressions:
            return whole_part(expressions[0], depth)
        return mixed_part(pieces)


def _escape(key: str) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def collect_template_errors(
    value: Json, *, pointer: str = "", limits: Limits | None = None
) -> tuple[Template | None, list[ExpressionError]]:
    """Compile a template and return every create-time error in it.

    Args:
        value: Any JSON.
        pointer: JSON pointer of the value inside its document.
        limits: Instead of the defaults.

    Returns:
        The template, or `None` and the errors.
    """
    limits = limits or DEFAULT_LIMITS
    builder = _Builder(limits)
    part = builder.value(value, pointer, "", 0)
    if builder.errors:
        return None, builder.errors
    literal = part is None
    template = Template(
        part or (lambda state, slots: value),
        pointer,
        limits,
        tuple(builder.references),
        literal,
        builder.has_secrets,
    )
    return template, []


def compile_template(value: Json, *, pointer: str = "", limits: Limits | None = None) -> Template:
    """Compile a template.

    Raises:
        ExpressionError: The first of the create-time errors.
    """
    template, errors = collect_template_errors(value, pointer=pointer, limits=limits)
    if template is None:
        raise errors[0]
    return template


def render(template: Json, context: Mapping[str, Json], limits: Limits | None = None) -> Json:
    """Compile and render a template.

    Raises:
        ExpressionError: Whatever goes wrong.
    """
    return compile_template(template, limits=limits).render(context)
