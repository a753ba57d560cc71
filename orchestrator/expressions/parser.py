"""The parser: precedence climbing over the token list."""

from __future__ import annotations

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.meter import MAX_INT
from orchestrator.expressions.nodes import (
    Access,
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
from orchestrator.expressions.tokens import Token

_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _COALESCE, _ADD, _MULTIPLY, _UNARY = range(1, 10)
_POWERS = {
    "?": _CONDITIONAL,
    "or": _OR,
    "and": _AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not"), _COMPARE),
    "??": _COALESCE,
    "+": _ADD,
    "-": _ADD,
    **dict.fromkeys(("*", "/", "//", "%"), _MULTIPLY),
}
_WORDS = ("name", "true", "false", "null", "and", "or", "not", "in")
_CONSTANTS = {"true": True, "false": False, "null": None}


class Parser:
    """Parses the tokens of one expression.

    Attributes:
        slots: How many lambda parameters are alive at once, at most.
    """

    def __init__(self, tokens: list[Token], nesting: int) -> None:
        """Prepare to parse `tokens` with at most `nesting` levels."""
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._nesting = nesting
        self._scope: list[str] = []
        self.slots = 0

    def parse(self) -> Node:
        """Return the tree of the whole expression.

        Raises:
            ExpressionError: `E_SYNTAX` or `E_LIMIT`.
        """
        if self._tokens[0].kind == "end":
            raise ExpressionError("E_SYNTAX", "the expression is empty", column=self._tokens[0].column)
        node = self._expression(_CONDITIONAL)
        if self._tokens[self._at].kind != "end":
            raise self._unexpected()
        return node

    def _expression(self, minimum: int) -> Node:
        self._depth += 1
        if self._depth > self._nesting:
            raise too_nested(self._nesting, self._tokens[self._at].column)
        left = self._operand()
        while (power := _POWERS.get(self._tokens[self._at].kind, 0)) >= minimum:
            token = self._tokens[self._at]
            kind = token.kind
            if power >= _ADD:
                left = self._arithmetic(left, power)
            elif power == _COMPARE:
                if kind == "not" and self._tokens[self._at + 1].kind != "in":
                    break
                left = self._comparison(left, token)
            elif power == _CONDITIONAL:
                left = self._conditional(left)
            else:
                operands = [left]
                while self._take(kind):
                    operands.append(self._expression(power + 1))
                left = Coalesce(operands, token.column) if kind == "??" else Logic(kind, operands, token.column)
        self._depth -= 1
        return left

    def _arithmetic(self, first: Node, power: int) -> Node:
        rest: list[tuple[str, Node, int]] = []
        column = self._tokens[self._at].column
        while _POWERS.get((token := self._tokens[self._at]).kind) == power:
            self._at += 1
            rest.append((token.kind, self._expression(power + 1), token.column))
        return Arithmetic(first, rest, column)

    def _comparison(self, left: Node, token: Token) -> Node:
        self._at += 1
        operator = token.kind
        if operator == "not":
            self._at += 1
            operator = "not in"
        right = self._expression(_COMPARE + 1)
        after = self._tokens[self._at]
        if _POWERS.get(after.kind) == _COMPARE:
            raise ExpressionError(
                "E_SYNTAX", "comparisons do not chain", column=after.column, hint="write a < b && b < c"
            )
        return Comparison(operator, left, right, token.column)

    def _conditional(self, condition: Node) -> Node:
        column = self._tokens[self._at].column
        cases: list[tuple[Node, Node]] = []
        while self._take("?"):
            value = self._expression(_CONDITIONAL)
            self._expect(":", "of 'condition ? a : b'")
            cases.append((condition, value))
            condition = self._expression(_CONDITIONAL + 1)
        return Conditional(cases, condition, column)

    def _operand(self) -> Node:
        token = self._tokens[self._at]
        kind = token.kind
        if kind == "not":
            self._at += 1
            return Unary("!", self._expression(_NOT), token.column)
        if kind == "!" or kind == "-":
            self._at += 1
            operand = self._expression(_UNARY)
            if kind == "-" and type(operand) is Literal and type(operand.value) in (int, float):
                return Literal(-operand.value, token.column)
            return Unary(kind, operand, token.column)
        return self._postfix(self._primary(token), token.column)

    def _primary(self, token: Token) -> Node:
        kind, value, column = token
        if kind == "name":
            if self._tokens[self._at + 1].kind == "(":
                self._at += 1
                return Call(value, self._arguments(), False, column, column)
            self._at += 1
            if value in self._scope:
                slot = len(self._scope) - 1 - self._scope[::-1].index(value)
                return Local(value, slot, column)
            return Name(value, column)
        if kind == "number" or kind == "text":
            if value == MAX_INT + 1 and self._tokens[self._at - 1].kind != "-":
                raise ExpressionError("E_SYNTAX", "the number is out of range", column=column)
            self._at += 1
            return Literal(value, column)
        if kind in _CONSTANTS:
            self._at += 1
            return Literal(_CONSTANTS[kind], column)
        if kind == "(":
            self._at += 1
            node = self._expression(_CONDITIONAL)
            self._expect(")", "to close '('")
            return node
        if kind == "[":
            self._at += 1
            return Array(self._list("]"), column)
        if kind == "{":
            return self._object()
        raise self._unexpected()

    def _postfix(self, node: Node, start: int) -> Node:
        tokens = self._tokens
        # A path in parentheses is not continued: in `(a?.b).c` a null passes only to the closing parenthesis.
        path: Path | None = None
        while True:
            kind = tokens[self._at].kind
            access: Access | None = None
            if kind == "." or kind == "?.":
                self._at += 1
                name = tokens[self._at]
                if kind == "?." and name.kind == "[":
                    self._at += 1
                    access = self._index(True, name.column)
                elif name.kind not in _WORDS:
                    raise self._unexpected("a field name", "write x['…'] for other keys")
                else:
                    self._at += 1
                    if tokens[self._at].kind == "(":
                        node = Call(name.value, self._arguments(node), kind == "?.", start, name.column)
                    else:
                        access = Access(name.value, None, kind == "?.", name.column)
            elif kind == "[":
                self._at += 1
                access = self._index(False, tokens[self._at].column)
            elif kind == "|":
                node = self._pipe(node, start)
            else:
                return node
            if access is None:
                path = None
            elif path is None:
                node = path = Path(node, [access], start)
            else:
                path.steps.append(access)

    def _pipe(self, node: Node, start: int) -> Node:
        self._at += 1
        name = self._tokens[self._at]
        if name.kind != "name":
            raise self._unexpected("a function name", "write '||' or 'or' for a choice of conditions")
        self._at += 1
        arguments: list[Node | Lambda] = [node]
        if self._tokens[self._at].kind == "(":
            arguments = self._arguments(node)
        return Call(name.value, arguments, False, start, name.column)

    def _index(self, optional: bool, column: int) -> Access:
        node = self._expression(_CONDITIONAL)
        self._expect("]", "to close '['")
        if type(node) is Literal and type(node.value) in (str, int):
            return Access(node.value, None, optional, column)
        return Access(None, node, optional, column)

    def _list(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._take(closing):
            items.append(self._expression(_CONDITIONAL))
            if not self._take(",") and self._tokens[self._at].kind != closing:
                raise self._unexpected(f"',' or '{closing}'")
        return items

    def _object(self) -> Node:
        column = self._tokens[self._at].column
        self._at += 1
        keys: list[str] = []
        values: list[Node] = []
        seen: dict[str, None] = {}
        while not self._take("}"):
            key = self._tokens[self._at]
            if key.kind not in _WORDS and key.kind != "text":
                raise self._unexpected("a key", "keys are names or text literals: {name: 1, 'other key': 2}")
            if key.value in seen:
                raise ExpressionError("E_SYNTAX", f"the key '{key.value[:40]}' stands twice", column=key.column)
            seen[key.value] = None
            self._at += 1
            self._expect(":", "after a key")
            keys.append(key.value)
            values.append(self._expression(_CONDITIONAL))
            if not self._take(",") and self._tokens[self._at].kind != "}":
                raise self._unexpected("',' or '}'")
        return Object(keys, values, column)

    def _arguments(self, receiver: Node | None = None) -> list[Node | Lambda]:
        self._at += 1
        arguments: list[Node | Lambda] = [] if receiver is None else [receiver]
        while not self._take(")"):
            arguments.append(self._lambda() or self._expression(_CONDITIONAL))
            if not self._take(",") and self._tokens[self._at].kind != ")":
                raise self._unexpected("',' or ')'")
        return arguments

    def _lambda(self) -> Lambda | None:
        parameters = self._parameters()
        if parameters is None:
            return None
        column = self._tokens[self._at - 1].column
        slot = len(self._scope)
        self._scope += parameters
        self.slots = max(self.slots, len(self._scope))
        body = self._expression(_CONDITIONAL)
        del self._scope[slot:]
        return Lambda(len(parameters), slot, body, column)

    def _parameters(self) -> list[str] | None:
        tokens, at = self._tokens, self._at
        if tokens[at].kind == "name":
            if tokens[at + 1].kind != "=>":
                return None
            self._at = at + 2
            return [tokens[at].value]
        if tokens[at].kind != "(":
            return None
        names: list[str] = []
        at += 1
        while tokens[at].kind == "name" and tokens[at + 1].kind in (",", ")"):
            names.append(tokens[at].value)
            at += 2
            if tokens[at - 1].kind == ")":
                break
        if tokens[at].kind != "=>" or not names:
            return None
        for position, name in enumerate(names):
            if name in names[:position]:
                raise ExpressionError("E_SYNTAX", f"the parameter '{name}' stands twice", column=tokens[at].column)
        self._at = at + 1
        return names

    def _take(self, kind: str) -> bool:
        if self._tokens[self._at].kind == kind:
            self._at += 1
            return True
        return False

    def _expect(self, kind: str, why: str) -> None:
        if not self._take(kind):
            raise self._unexpected(f"'{kind}' {why}")

    def _unexpected(self, expected: str = "", hint: str | None = None) -> ExpressionError:
        token = self._tokens[self._at]
        wanted = f", expected {expected}" if expected else ""
        if token.kind == "end":
            return ExpressionError("E_SYNTAX", f"the expression ends too early{wanted}", column=token.column, hint=hint)
        if token.kind == "=>":
            hint = "a function like x => x.name stands only as an argument of another: items.map(x => x.name)"
        elif token.value == "if" and token.kind == "name":
            hint = "write a choice as: condition ? this : that"
        elif token.kind == "{" and self._at and self._tokens[self._at - 1].kind == "{":
            hint = "an expression holds no further {{ }}: write the whole of it inside one pair"
        if token.kind == "text":
            return ExpressionError("E_SYNTAX", f"unexpected text literal{wanted}", column=token.column, hint=hint)
        shown = str(token.value)[:40]
        return ExpressionError("E_SYNTAX", f"unexpected '{shown}'{wanted}", column=token.column, hint=hint)


def too_nested(limit: int, column: int) -> ExpressionError:
    """Return the error for an expression nested too deep."""
    return ExpressionError(
        "E_LIMIT",
        f"the expression is nested deeper than {limit} levels",
        column=column,
        hint="compute a part of it in a step of its own",
    )
