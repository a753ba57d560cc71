"""The compiler: from the syntax tree to Python closures, with the static cost and the references on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.expressions import operators
from orchestrator.expressions.calls import call_code
from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.foreign_names import foreign_hint
from orchestrator.expressions.functions import Closure, Function
from orchestrator.expressions.meter import SLOT, Evaluation, Json
from orchestrator.expressions.nodes import (
    Arithmetic,
    Array,
    Call,
    Coalesce,
    Comparison,
    Conditional,
    Lambda,
    Literal,
    Local,
    Logic,
    Name,
    Node,
    Object,
    Path,
    Unary,
)
from orchestrator.expressions.parser import too_nested
from orchestrator.expressions.paths import Code, Step, read_local_field, read_path, read_root
from orchestrator.expressions.suggestions import did_you_mean
from orchestrator.expressions.table import FUNCTIONS

_LENIENT_FIELDS = ("status", "error")


class Compiler:
    """Compiles one expression.

    Attributes:
        cost: Units of work of the nodes outside of lambdas.
        builds: Whether the result can hold lists or objects that are not in the context.
        references: (root, step id, field, strict, column) of every root name that is read.
    """

    def __init__(self, source: str, nesting: int) -> None:
        """Prepare to compile the expression `source`, whose tree may have `nesting` levels."""
        self._source = source
        self._nesting = nesting
        self._depth = 0
        self.cost = 0
        self.builds = False
        self.references: list[tuple[str, str | None, str | None, bool, int]] = []

    def compile(self, node: Node, lenient: bool = False) -> Code:
        """Return the code of a node.

        Args:
            node: Root of a syntax tree.
            lenient: Whether what is missing on the path that the node is makes it null.

        Raises:
            ExpressionError: `E_NAME`, `E_FUNCTION`, `E_STEP` or `E_LIMIT`.
        """
        self._depth += 1
        if self._depth > self._nesting:
            raise too_nested(self._nesting, node.column)
        self.cost += 1
        code: Code = _COMPILERS[type(node)](self, node, lenient)
        self._depth -= 1
        return code

    def literal(self, node: Literal, lenient: bool) -> Code:
        """Compile a literal."""
        value = node.value
        return lambda state: value

    def name(self, node: Name, lenient: bool) -> Code:
        """Compile a root name that stands alone."""
        if node.name == "steps":
            raise ExpressionError(
                "E_STEP", "'steps' needs the id of a step", column=node.column, hint="steps.fetch.output"
            )
        self._refer(node, None, None, not lenient)
        return read_root(node.name, node.column)

    def local(self, node: Local, lenient: bool) -> Code:
        """Compile a lambda parameter."""
        slot = node.slot
        return lambda state: state.locals[slot]

    def path(self, node: Path, lenient: bool) -> Code:
        """Compile fields and indexes."""
        base, root = node.base, None
        self.cost += len(node.steps)
        steps: list[Step] = [
            (access.key, None if access.index is None else self.compile(access.index), access.optional, access.column)
            for access in node.steps
        ]
        if type(base) is Name:
            root = base.name
            self._path_reference(base, node, lenient)
            code = read_root(root, base.column)
        else:
            code = self.compile(base, lenient)
        walk = read_path(code, root, steps, self._source, node.column, lenient)
        if type(base) is Local and len(steps) == 1 and type(steps[0][0]) is str:
            return read_local_field(base.slot, steps[0][0], walk)
        return walk

    def _path_reference(self, base: Name, node: Path, lenient: bool) -> None:
        strict = not lenient and not any(access.optional for access in node.steps)
        keys = [access.key if type(access.key) is str else None for access in node.steps[:2]]
        if base.name != "steps":
            self._refer(base, None, keys[0], strict)
            return
        if keys[0] is None:
            raise ExpressionError(
                "E_STEP",
                "the id of a step must be written out",
                column=node.steps[0].column,
                hint="steps.fetch or steps['my-step']; the validator must know what a step reads",
            )
        if len(keys) == 1 or keys[1] is None:
            raise ExpressionError(
                "E_STEP",
                f"'steps.{keys[0][:64]}' needs a field",
                column=node.steps[0].column,
                hint="read its output, status, error, errors, attempts, started_at or finished_at",
            )
        self._refer(base, keys[0], keys[1], strict and keys[1] not in _LENIENT_FIELDS)

    def _refer(self, node: Name, step_id: str | None, field: str | None, strict: bool) -> None:
        if node.name == "secrets":
            raise ExpressionError(
                "E_NAME",
                "a secret cannot be part of an expression",
                column=node.column,
                hint="write {{ secrets.NAME }} alone or between text: 'Bearer {{ secrets.NAME }}'",
            )
        self.references.append((node.name, step_id, field, strict, node.column))

    def call(self, node: Call, lenient: bool) -> Code:
        """Compile a function call."""
        function = FUNCTIONS.get(node.name)
        if function is None:
            raise ExpressionError(
                "E_FUNCTION",
                f"unknown function '{node.name[:64]}'",
                column=node.column,
                hint=foreign_hint(node.name) or did_you_mean(node.name, FUNCTIONS),
            )
        self._check_arguments(node, function)
        self.cost += function.cost
        self.builds = self.builds or function.builds
        if node.name == "default":
            return operators.coalesce([self._argument(node, 0, True), self._argument(node, 1)])
        if node.name == "has":
            return self._has(node)
        propagates = (lenient or node.optional) and not function.accepts_null
        arguments = [self._argument(node, place, lenient and place == 0) for place in range(len(node.arguments))]
        return call_code(function.run, arguments, node.column, propagates, lenient)

    def _argument(self, node: Call, place: int, lenient: bool = False) -> Any:
        argument = node.arguments[place]
        return self._closure(argument) if isinstance(argument, Lambda) else self.compile(argument, lenient)

    def _has(self, node: Call) -> Code:
        code: Code = self._argument(node, 0, True)
        if len(node.arguments) == 2:
            step: Step = (None, self._argument(node, 1), False, node.column)
            code = read_path(code, None, [step], self._source, node.start, True)
        return lambda state: code(state) is not None

    def _check_arguments(self, node: Call, function: Function) -> None:
        count = len(node.arguments)
        usage = f"use {function.usage}"
        if count < function.least or (function.most is not None and count > function.most):
            wanted = str(function.least) if function.least == function.most else f"{function.least} to {function.most}"
            if function.most is None:
                wanted = f"at least {function.least}"
            raise ExpressionError(
                "E_FUNCTION",
                f"{node.name} takes {wanted} argument{'' if wanted == '1' else 's'}, not {count}",
                column=node.column,
                hint=usage,
            )
        for place, argument in enumerate(node.arguments):
            bounds = function.lambdas.get(place)
            if isinstance(argument, Lambda):
                if bounds is None:
                    message = f"argument {place + 1} of {node.name} is a value, not a function"
                elif not bounds[0] <= argument.parameters <= bounds[1]:
                    message = f"the function given to {node.name} takes {bounds[0]} or {bounds[1]} parameters"
                else:
                    continue
            elif bounds is not None and not function.mixed:
                message = f"argument {place + 1} of {node.name} is a function: x => …"
            else:
                continue
            raise ExpressionError("E_FUNCTION", message, column=argument.column, hint=usage)

    def _closure(self, node: Lambda) -> Closure:
        outer, self.cost = self.cost, 0
        body = self.compile(node.body)
        closure = Closure(body, node.parameters, node.slot, self.cost + 1, node.column)
        self.cost = outer + 1
        return closure

    def array(self, node: Array, lenient: bool) -> Code:
        """Compile `[a, b]`."""
        self.builds = True
        items = [self.compile(item) for item in node.items]
        units = SLOT + SLOT * len(items)

        def run(state: Evaluation) -> Json:
            state.allocate(units)
            return [item(state) for item in items]

        return run

    def object(self, node: Object, lenient: bool) -> Code:
        """Compile `{k: v}`."""
        self.builds = True
        fields = list(zip(node.keys, [self.compile(value) for value in node.values], strict=True))
        units = SLOT + 2 * SLOT * len(fields)

        def run(state: Evaluation) -> Json:
            state.allocate(units)
            return {key: value(state) for key, value in fields}

        return run

    def unary(self, node: Unary, lenient: bool) -> Code:
        """Compile `-x` and `!x`."""
        build = operators.minus if node.operator == "-" else operators.negation
        return build(self.compile(node.operand), node.column)

    def arithmetic(self, node: Arithmetic, lenient: bool) -> Code:
        """Compile `+ - * / // %`."""
        first = self.compile(node.first)
        self.cost += len(node.rest)
        rest = [(symbol, self.compile(operand), column) for symbol, operand, column in node.rest]
        self.builds = self.builds or any(symbol == "+" for symbol, _, _ in rest)
        return operators.arithmetic(first, rest)

    def comparison(self, node: Comparison, lenient: bool) -> Code:
        """Compile a comparison."""
        left, right = self.compile(node.left), self.compile(node.right)
        if node.operator in ("==", "!="):
            return operators.equality(left, right, node.operator == "!=")
        if node.operator in ("in", "not in"):
            return operators.membership(left, right, node.operator == "not in", node.column)
        return operators.ordering(node.operator, left, right, node.column)

    def logic(self, node: Logic, lenient: bool) -> Code:
        """Compile `and` and `or`."""
        return operators.logic(node.operator, [(self.compile(item), item.column) for item in node.operands])

    def coalesce(self, node: Coalesce, lenient: bool) -> Code:
        """Compile `??`: all operands but the last are lenient, and the last one is too inside a lenient path."""
        last = len(node.operands) - 1
        return operators.coalesce(
            [self.compile(item, lenient or place < last) for place, item in enumerate(node.operands)]
        )

    def conditional(self, node: Conditional, lenient: bool) -> Code:
        """Compile `c ? a : b`."""
        cases = [(self.compile(test), test.column, self.compile(value)) for test, value in node.cases]
        return operators.conditional(cases, self.compile(node.otherwise))


_COMPILERS: dict[type, Callable[[Compiler, Any, bool], Code]] = {
    Literal: Compiler.literal,
    Name: Compiler.name,
    Local: Compiler.local,
    Path: Compiler.path,
    Call: Compiler.call,
    Array: Compiler.array,
    Object: Compiler.object,
    Unary: Compiler.unary,
    Arithmetic: Compiler.arithmetic,
    Comparison: Compiler.comparison,
    Logic: Compiler.logic,
    Coalesce: Compiler.coalesce,
    Conditional: Compiler.conditional,
}
