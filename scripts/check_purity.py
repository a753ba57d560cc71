"""Keeps clocks, randomness and unordered iteration out of the packages that Temporal replays, and the simulator.

A finding that is harmless is marked on its line: `# pure: <reason>`; a mark without a reason, or on a line without a
finding, is itself a finding.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("expressions", "definition", "execution", "simulation", "workflows")

_MARK: Final = re.compile(r"#\s*pure:\s*(.*)")

# Whole modules, and single names of modules that are otherwise fine.
_REFUSED: Final = {
    "time": "reads the clock",
    "random": "is random",
    "secrets": "is random",
    "uuid": "is random",
    "os.environ": "reads the environment",
    "os.environb": "reads the environment",
    "os.getenv": "reads the environment",
    "os.urandom": "is random",
    "os.getpid": "differs between processes",
    "datetime.datetime.now": "reads the clock",
    "datetime.datetime.utcnow": "reads the clock",
    "datetime.datetime.today": "reads the clock",
    "datetime.date.today": "reads the clock",
    "asyncio.wait": "returns sets, whose order differs between processes",
    "asyncio.as_completed": "yields in the order of completion through a set",
    "io.open": "does I/O",
    "socket": "does I/O",
    "subprocess": "does I/O",
    "tempfile": "does I/O",
    "threading.get_ident": "differs between processes",
}
_REFUSED_METHODS: Final = {
    "read_text": "does I/O",
    "read_bytes": "does I/O",
    "write_text": "does I/O",
    "write_bytes": "does I/O",
}
_REFUSED_CALLS: Final = {
    "open": "does I/O",
    "input": "does I/O",
    "print": "does I/O",
    "id": "differs between processes",
    "hash": "differs between processes (PYTHONHASHSEED)",
}
_SET_METHODS: Final = frozenset({"union", "intersection", "difference", "symmetric_difference"})
# These take an iterable and keep its order, so a set inside them leaks its own; sorted, len, sum, any, min do not.
_ORDER_KEEPERS: Final = frozenset({"list", "tuple", "iter", "enumerate", "map", "filter", "zip", "reversed", "next"})


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One impure place."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class _Visitor(ast.NodeVisitor):
    """Collects (line, message) of one module."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []
        self._names: dict[str, str] = {}
        self._sets: list[dict[str, bool]] = [{}]

    # --- names of modules ---

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self._names[bound] = alias.name if alias.asname else bound
            self._refuse_name(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            self._names[alias.asname or alias.name] = full
            if not self._refuse_name(node, full):
                self._refuse_name(node, str(node.module))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        full = self._dotted(node)
        if full is not None:
            self._refuse_name(node, full)
        self.generic_visit(node)

    def _dotted(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return None if before is None else f"{before}.{node.attr}"
        return None

    def _refuse_name(self, node: ast.AST, full: str) -> bool:
        reason = _REFUSED.get(full)
        if reason is not None:
            self._add(node, f"{full} {reason}")
        return reason is not None

    # --- calls ---

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in _REFUSED_CALLS and name not in self._names:
                self._add(node, f"{name}() {_REFUSED_CALLS[name]}")
            if name in _ORDER_KEEPERS:
                for argument in node.args:
                    self._refuse_iteration(argument)
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in _REFUSED_METHODS:
                self._add(node, f".{node.func.attr}() {_REFUSED_METHODS[node.func.attr]}")
            if node.func.attr in ("join", "extend", "fromkeys"):
                for argument in node.args:
                    self._refuse_iteration(argument)
            if node.func.attr == "pop" and not node.args and self._is_set(node.func.value):
                self._add(node, "set.pop() takes any element: the order of a set differs between processes")
        self.generic_visit(node)

    # --- iteration over sets ---

    def visit_For(self, node: ast.For) -> None:
        self._refuse_iteration(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._refuse_iteration(node.iter)
        self.generic_visit(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        # A set built from a set has no order to leak.
        for generator in node.generators:
            for part in (generator.target, generator.iter, *generator.ifs):
                self.visit(part)
        self.visit(node.elt)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._refuse_iteration(node.value)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        for element in node.elts:
            self.visit(element.value if isinstance(element, ast.Starred) else element)

    def _refuse_iteration(self, node: ast.expr) -> None:
        if self._is_set(node):
            self._add(node, "iterates over a set, whose order differs between processes: sort it or use a dict")

    def _is_set(self, node: ast.expr) -> bool:
        if isinstance(node, (ast.Set, ast.SetComp)):
            return True
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self._sets) if node.id in scope), False)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)):
            return self._is_set(node.left) or self._is_set(node.right)
        if isinstance(node, ast.IfExp):
            return self._is_set(node.body) or self._is_set(node.orelse)
        if isinstance(node, ast.NamedExpr):
            return self._is_set(node.value)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                return node.func.id in ("set", "frozenset")
            return isinstance(node.func, ast.Attribute) and node.func.attr in _SET_METHODS
        return False

    # --- which names hold sets ---

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._sets[-1][target.id] = self._is_set(node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._sets[-1][node.target.id] = _annotates_set(node.annotation)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._sets.append({a.arg: a.annotation is not None and _annotates_set(a.annotation) for a in arguments})
        if node.name == "__hash__":
            # What an object answers to hash() orders nothing by itself.
            self._names["hash"] = "builtins.hash"
        self.generic_visit(node)
        if node.name == "__hash__":
            del self._names["hash"]
        self._sets.pop()

    def _add(self, node: ast.AST, message: str) -> None:
        self.found.append((getattr(node, "lineno", 0), message))


def _annotates_set(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return False
    if isinstance(annotation, ast.Subscript):
        name = annotation.value
        if isinstance(name, ast.Name) and name.id in ("Final", "ClassVar", "Annotated"):
            inner = annotation.slice
            return _annotates_set(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
        return _annotates_set(name)
    name_of = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
    return name_of in ("set", "frozenset", "Set", "AbstractSet", "MutableSet", "FrozenSet")


def _marks(source: str) -> dict[int, str]:
    """Reasons by line; comments only, not strings that look like one."""
    found: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (match := _MARK.search(token.string)):
            found[token.start[0]] = match.group(1).strip()
    return found


def check_source(source: str, path: str) -> list[Finding]:
    """Return the findings of one module, by line."""
    visitor = _Visitor()
    visitor.visit(ast.parse(source, path))
    marks = _marks(source)
    lines = {line for line, _ in visitor.found}
    findings = [Finding(path, line, message) for line, message in visitor.found if not marks.get(line)]
    for line, reason in marks.items():
        if not reason:
            findings.append(Finding(path, line, "a `# pure:` mark needs its reason"))
        elif line not in lines:
            findings.append(Finding(path, line, "this `# pure:` mark excuses nothing; remove it"))
    return sorted(set(findings))


def check_tree(root: Path) -> Iterator[Finding]:
    """Check the pure packages and the workflow code below a source root."""
    for package in PACKAGES:
        for file in sorted((root / "orchestrator" / package).rglob("*.py")):
            yield from check_source(file.read_text(encoding="utf-8"), str(file.relative_to(root)))


def main(arguments: Sequence[str]) -> int:
    """Print every finding; 1 when there are any."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    findings = list(check_tree(root))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
