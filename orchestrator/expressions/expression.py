"""Compiled expressions, and the boundary that only `ExpressionError` passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.expressions.compiler import Compiler
from orchestrator.expressions.errors import ExpressionError, encodable
from orchestrator.expressions.limits import DEFAULT_LIMITS, Limits
from orchestrator.expressions.meter import Evaluation, Host, Json, Meter
from orchestrator.expressions.nodes import Literal, Name, Node, Path
from orchestrator.expressions.operators import not_boolean
from orchestrator.expressions.parser import Parser
from orchestrator.expressions.paths import Code
from orchestrator.expressions.references import Reference
from orchestrator.expressions.tokens import tokenize
from orchestrator.expressions.values import settle

_UNCOUNTED = (bool, int, float, type(None))


class Expression:
    """A compiled expression, immutable and free of state: one may be evaluated by many executions at once.

    Attributes:
        source: The text that it was compiled from, with its braces when it had them.
        pointer: JSON pointer of the value inside its document.
        references: The root names that it reads.
        secret: Name of the secret that it is, when it is nothing but `secrets.NAME`.
    """

    __slots__ = ("_builds", "_code", "_cost", "_limits", "_slots", "pointer", "references", "secret", "source")

    def __init__(self, source: str, node: Node, slots: int, pointer: str, limits: Limits, secrets: bool) -> None:
        """Compile a syntax tree; `compile_expression` is the way in."""
        self.source = source
        self.pointer = pointer
        self._limits = limits
        self._slots = slots
        self.secret = _secret_name(node) if secrets else None
        if self.secret is not None:
            assert isinstance(node, Path)
            node = Literal(None, node.column)
        compiler = Compiler(source, limits.nesting)
        self._code: Code = compiler.compile(node)
        self._cost = compiler.cost
        self._builds = compiler.builds
        found = compiler.references
        if self.secret is not None:
            found = [("secrets", None, self.secret, True, node.column)]
        self.references = tuple(
            Reference(root, step_id, field, strict, pointer, source, column)
            for root, step_id, field, strict, column in found
        )

    def __repr__(self) -> str:
        """Show the source."""
        return f"Expression({self.source!r})"

    def evaluate(
        self,
        context: Mapping[str, Json],
        *,
        host: Host | None = None,
        meter: Meter | None = None,
        limits: Limits | None = None,
    ) -> Json:
        """Return the value of the expression.

        Args:
            context: Values of the root names; read, never changed, and possibly shared with the result.
            host: Supplies `now()` and `uuid()`.
            meter: Counts the work of the workflow activation.
            limits: Instead of those it was compiled with.

        Raises:
            ExpressionError: Whatever goes wrong.
        """
        state = Evaluation(context)
        if host is not None:
            state.host = host
        limits = limits or self._limits
        if limits is not DEFAULT_LIMITS:
            state.limit(limits)
        try:
            return self.run(state, 0)
        finally:
            if meter is not None:
                meter.work += state.work

    def evaluate_condition(
        self,
        context: Mapping[str, Json],
        *,
        host: Host | None = None,
        meter: Meter | None = None,
        limits: Limits | None = None,
    ) -> bool:
        """Return the value of a condition.

        Raises:
            ExpressionError: `E_TYPE` unless it is a boolean; and whatever `evaluate` raises.
        """
        value = self.evaluate(context, host=host, meter=meter, limits=limits)
        if value is True or value is False:
            return bool(value)
        raise self.locate(not_boolean(value, "the condition", None))

    def run(self, state: Evaluation, depth: int) -> Json:
        """Return the value within an evaluation that may hold further expressions.

        Args:
            state: The evaluation.
            depth: Levels of the template around the result.

        Raises:
            ExpressionError: Whatever goes wrong, located.
        """
        if self._slots:
            state.locals = [None] * self._slots
        try:
            state.work = work = state.work + self._cost
            if work > state.work_limit:
                state.charge(0)
            value = self._code(state)
            kind = type(value)
            if kind is str:
                if len(value) > 255:
                    state.charge(len(value) >> 8)
            elif kind not in _UNCOUNTED:
                settle(state, value, self._builds, depth)
            return value
        except ExpressionError as error:
            if error.code == "E_LIMIT":
                state.exhaust()
            self.locate(error)
            raise
        except Exception as error:
            state.exhaust()
            raise self.locate(contained(error)) from None

    def locate(self, error: ExpressionError) -> ExpressionError:
        """Return the error with this expression as its place."""
        error.pointer = self.pointer
        error.expression = encodable(self.source)
        return error


def contained(error: Exception) -> ExpressionError:
    """Return our error for one that Python raised: any other would make Temporal retry the workflow task for ever."""
    if isinstance(error, RecursionError | MemoryError):
        return ExpressionError("E_LIMIT", "the evaluation needs more memory than there is")
    if isinstance(error, ArithmeticError):
        return ExpressionError("E_RANGE", "the result is out of range")
    return ExpressionError("E_TYPE", f"a value does not fit the expression ({type(error).__name__})")


def parse(
    source: str, start: int, base: int, closing: bool, pointer: str, limits: Limits, secrets: bool
) -> tuple[Expression | ExpressionError, int]:
    """Compile an expression that stands in a text.

    Args:
        source: The text.
        start: Where the expression starts, behind `{{` if it has braces.
        base: Where columns start to count.
        closing: Whether the expression ends at its `}}` rather than with the text.
        pointer: JSON pointer of the text inside its document.
        limits: Limits to compile with.
        secrets: Whether the expression may be a secret.

    Returns:
        The expression, or why there is none, and the offset behind it: -1 when even its end is not known.
    """
    end = -1
    try:
        tokens, end = tokenize(source, start, base, closing)
        inner = source[start : end - 2 if closing else end]
        if len(inner) > limits.expression_bytes // 4 and _bytes(inner) > limits.expression_bytes:
            raise ExpressionError("E_LIMIT", f"the expression is longer than {limits.expression_bytes} bytes", column=1)
        parser = Parser(tokens, limits.nesting)
        node = parser.parse()
        return Expression(source[base:end], node, parser.slots, pointer, limits, secrets), end
    except ExpressionError as error:
        found = error
    except Exception as error:
        found = contained(error)
    found.pointer = pointer
    found.expression = encodable(source[base : end if end >= 0 else base + limits.expression_bytes])
    return found, end


def compile_expression(source: str, *, pointer: str = "", limits: Limits | None = None) -> Expression:
    """Compile a bare expression; one whole-string `{{ }}` around it is accepted.

    Args:
        source: The expression.
        pointer: JSON pointer of the source inside its document, for errors and references.
        limits: Instead of the defaults.

    Raises:
        ExpressionError: `E_SYNTAX`, `E_NAME`, `E_FUNCTION`, `E_STEP` or `E_LIMIT`.
    """
    limits = limits or DEFAULT_LIMITS
    if not isinstance(source, str):
        raise ExpressionError("E_SYNTAX", "an expression is a string", pointer)
    text = source.strip()
    if len(text) > limits.expression_bytes + 16:
        raise ExpressionError("E_LIMIT", f"the expression is longer than {limits.expression_bytes} bytes", pointer)
    braces = text.startswith("{{")
    found, end = parse(text, 2 if braces else 0, 0, braces, pointer, limits, False)
    if isinstance(found, Expression) and braces and end < len(text):
        found = ExpressionError("E_SYNTAX", "text follows the '}}'", pointer, end + 1, expression=text)
    if isinstance(found, ExpressionError):
        if found.code == "E_SYNTAX" and found.hint is None and "{{" in text[2:]:
            found.hint = "this field takes one expression: braces cannot be mixed with text"
        raise found
    return found


def evaluate(expression: str, context: Mapping[str, Json], limits: Limits | None = None) -> Json:
    """Compile and evaluate a bare expression.

    Raises:
        ExpressionError: Whatever goes wrong.
    """
    return compile_expression(expression, limits=limits).evaluate(context)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _secret_name(node: Node) -> str | None:
    if not isinstance(node, Path) or not isinstance(node.base, Name) or node.base.name != "secrets":
        return None
    key: Any = node.steps[0].key
    return key if len(node.steps) == 1 and type(key) is str and not node.steps[0].optional else None
