"""Compiles a definition's models: expressions, nested scopes, inferred dependencies, policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from orchestrator.definition.block_types import Foreach, Loop
from orchestrator.definition.compiled import (
    CompiledDefinition,
    CompiledHandler,
    CompiledScope,
    CompiledStep,
    Condition,
    References,
)
from orchestrator.definition.envelope import Handler, ScopePath
from orchestrator.definition.issues import pointer_to
from orchestrator.definition.models import AnyStep, Concurrency, Defaults, Document, EndScope, Step, WaitForSignal
from orchestrator.definition.policies import resolve_retry, resolve_timeouts
from orchestrator.definition.secret_names import misnamed_secrets
from orchestrator.expressions import (
    Expression,
    ExpressionError,
    Reference,
    Template,
    collect_template_errors,
    compile_expression,
)


def compile_definition(document: Mapping[str, Any], sha256: str) -> CompiledDefinition:
    """Compile a stored (so already valid) document.

    Args:
        document: the definition's JSON.
        sha256: its canonical hash, the key of the workflow's cache.

    Raises:
        pydantic.ValidationError: the document is not a definition.
        ExpressionError: an expression does not compile.
    """
    errors: list[ExpressionError] = []
    compiled = compile_document(Document.model_validate(document), errors)
    if errors:
        raise errors[0]
    compiled.sha256 = sha256
    return compiled


def compile_document(document: Document, errors: list[ExpressionError]) -> CompiledDefinition:
    """Compile a document, adding what does not compile to `errors`."""
    compiler = _Compiler(document.defaults, errors)
    root = compiler.scope("", "root", "", document.steps)
    if "output" in document.model_fields_set:
        compiler.scope_output(root, document.output, "/output")
    return CompiledDefinition(
        document,
        root,
        "",
        on_failure=compiler.end_scope("on_failure", document.on_failure),
        on_cancel=compiler.end_scope("on_cancel", document.on_cancel),
        concurrency_key=compiler.concurrency_key(document.concurrency),
    )


class _Compiler:
    def __init__(self, defaults: Defaults | None, errors: list[ExpressionError]) -> None:
        self._defaults = defaults
        self._errors = errors

    # --- scopes ---------------------------------------------------------------------------------------------------

    def scope(
        self, owner: str, part: str, pointer: str, models: Sequence[Step], names: tuple[str, ...] = ()
    ) -> CompiledScope:
        """Compile a scope whose `steps` stand below `pointer`."""
        steps = [self.step(model, f"{pointer}/steps/{index}") for index, model in enumerate(models)]
        return self._linked(CompiledScope(owner, part, pointer, {}, names), steps)

    def end_scope(self, name: str, found: EndScope | list[AnyStep] | None) -> CompiledScope | None:
        """Compile `on_failure` or `on_cancel`, written as `{"steps": […]}` or as the bare list."""
        if found is None:
            return None
        if isinstance(found, EndScope):
            return self.scope("", name, f"/{name}", found.steps)
        steps = [self.step(model, f"/{name}/{index}") for index, model in enumerate(found)]
        return self._linked(CompiledScope("", name, f"/{name}", {}), steps)

    def scope_output(self, scope: CompiledScope, value: Any, pointer: str) -> None:
        """Compile the template of a scope's output, which sees its steps."""
        scope.output = self._template(value, pointer)
        if scope.output is not None:
            scope.references.append(References(scope.output.references))

    def _linked(self, scope: CompiledScope, steps: Iterable[CompiledStep]) -> CompiledScope:
        for step in steps:
            if step.step_id in scope.steps:
                scope.duplicates.append(step)
            else:
                scope.steps[step.step_id] = step
        dependents: dict[str, list[str]] = {step_id: [] for step_id in scope.steps}
        for step in scope.steps.values():
            step.listed = tuple(dict.fromkeys(step.model.depends_on))
            step.inferred = _inferred(step, scope.steps)
            for dependency in (*step.listed, *step.inferred):
                if dependency in dependents:
                    dependents[dependency].append(step.step_id)
        scope.dependents = {key: tuple(waiting) for key, waiting in dependents.items()}
        scope.sinks = tuple(step_id for step_id, waiting in dependents.items() if not waiting)
        return scope

    # --- steps ----------------------------------------------------------------------------------------------------

    def step(self, model: Step, pointer: str) -> CompiledStep:
        """Compile one step with all that is inside it."""
        step = CompiledStep(model, pointer)
        step.retry = resolve_retry(model, self._defaults)
        step.timeouts = resolve_timeouts(model, self._defaults)
        step.task_queue = model.task_queue or (self._defaults.task_queue if self._defaults else None)
        self._own_expressions(step, model, pointer)
        for part, path in type(model).inner_scopes(model):
            step.scopes[part] = self._inner(step, model, part, path)
        step.handlers = tuple(self._handler(step, handler, index) for index, handler in enumerate(model.on_error))
        if model.compensate is not None:
            undo = self.step(model.compensate, f"{pointer}/compensate")
            scope = CompiledScope(step.step_id, "compensate", f"{pointer}/compensate", {}, ("result",))
            step.scopes["compensate"] = self._linked(scope, [undo])
        step.outward = tuple(_outward(step))
        return step

    def _own_expressions(self, step: CompiledStep, model: Step, pointer: str) -> None:
        given = model.model_fields_set
        own: list[Reference] = []
        step.when = self._condition(model.when, f"{pointer}/when", own)
        for name in model.templates:
            if name in given:
                self._input(step, name, getattr(model, name), own)
        if isinstance(model, Foreach):
            if isinstance(model.items, str):
                step.conditions["items"] = self._condition(model.items, f"{pointer}/items", own)
            else:
                self._input(step, "items", model.items, own)
        step.references.append(References(tuple(own)))
        if isinstance(model, Loop):
            before: list[Reference] = []
            step.conditions["while"] = self._condition(model.while_, f"{pointer}/while", before)
            step.references.append(References(tuple(before), ("loop",)))
        if isinstance(model, WaitForSignal):
            accepts: list[Reference] = []
            step.conditions["accept_when"] = self._condition(model.accept_when, f"{pointer}/accept_when", accepts)
            step.references.append(References(tuple(accepts), ("result",)))
        if "output" in given:
            step.output = self._template(model.output, f"{pointer}/output")
            if step.output is not None:
                step.references.append(References(step.output.references, ("result",)))

    def _input(self, step: CompiledStep, name: str, value: Any, own: list[Reference]) -> None:
        alias = type(step.model).model_fields[name].alias or name
        plain = value.model_dump(exclude_unset=True) if hasattr(value, "model_dump") else value
        template = self._template(plain, f"{step.pointer}/{alias}")
        if template is None:
            return
        step.inputs[name] = template
        if name in step.model.secret_templates:
            self._errors += misnamed_secrets(template.references)
            own += [item for item in template.references if item.root != "secrets"]
        else:
            own += template.references

    def _inner(self, step: CompiledStep, model: Step, part: str, path: ScopePath) -> CompiledScope:
        holder: Any = model
        for key in path:
            holder = holder[cast(Any, key)] if isinstance(holder, list | dict) else getattr(holder, str(key))
        pointer = pointer_to(path, step.pointer)
        scope = self.scope(step.step_id, part, pointer, holder.steps, _names(model))
        if isinstance(model, Foreach):
            if "item_output" in model.model_fields_set:
                self.scope_output(scope, model.item_output, f"{pointer}/item_output")
        elif isinstance(model, Loop):
            self._loop(scope, model, pointer)
        elif "output" in holder.model_fields_set:
            self.scope_output(scope, holder.output, f"{pointer}/output")
        if part.startswith("case:"):
            own: list[Reference] = []
            step.conditions[part] = self._condition(holder.when, f"{pointer}/when", own)
            step.references.append(References(tuple(own)))
        return scope

    def _loop(self, scope: CompiledScope, model: Loop, pointer: str) -> None:
        if "iteration_output" in model.model_fields_set:
            self.scope_output(scope, model.iteration_output, f"{pointer}/iteration_output")
        own: list[Reference] = []
        scope.conditions["until"] = self._condition(model.until, f"{pointer}/until", own)
        scope.references.append(References(tuple(own)))

    def _handler(self, step: CompiledStep, handler: Handler, index: int) -> CompiledHandler:
        pointer = f"{step.pointer}/on_error/{index}"
        own: list[Reference] = []
        when = self._condition(handler.when, f"{pointer}/when", own)
        scope = output = None
        if handler.steps is not None:
            scope = step.scopes[f"handler:{index}"] = self.scope(
                step.step_id, f"handler:{index}", pointer, handler.steps, ("error",)
            )
            if "output" in handler.model_fields_set:
                self.scope_output(scope, handler.output, f"{pointer}/output")
        elif "output" in handler.model_fields_set:
            output = self._template(handler.output, f"{pointer}/output")
            own += output.references if output else ()
        step.references.append(References(tuple(own), ("error",)))
        action = "steps" if scope else "continue" if handler.continue_ else "park" if handler.park else "output"
        return CompiledHandler(tuple(handler.errors), when, action, output, scope)

    def concurrency_key(self, found: Concurrency | None) -> Template | None:
        """Compile the key under which executions exclude each other."""
        return self._template(found.key, "/concurrency/key") if found is not None and found.key is not None else None

    # --- expressions ----------------------------------------------------------------------------------------------

    def _condition(self, source: str | bool | None, pointer: str, own: list[Reference]) -> Condition:
        if not isinstance(source, str):
            return source
        try:
            found: Expression = compile_expression(source, pointer=pointer)
        except ExpressionError as error:
            self._errors.append(error)
            return None
        own += found.references
        return found

    def _template(self, value: Any, pointer: str) -> Template | None:
        template, found = collect_template_errors(value, pointer=pointer)
        self._errors += found
        return template


def _names(model: Step) -> tuple[str, ...]:
    if isinstance(model, Foreach):
        return ("item", "index", model.as_) if model.as_ else ("item", "index")
    return ("loop",) if isinstance(model, Loop) else ()


def _outward(step: CompiledStep) -> Iterable[Reference]:
    """Give the references of a step and of all that is inside it, to steps that are not inside it."""
    for group in step.references:
        yield from (item for item in group.items if item.root == "steps")
    for scope in step.scopes.values():
        for group in scope.references:
            yield from (item for item in group.items if item.root == "steps" and item.step_id not in scope.steps)
        for inner in (*scope.steps.values(), *scope.duplicates):
            yield from (item for item in inner.outward if item.step_id not in scope.steps)


def _inferred(step: CompiledStep, siblings: Mapping[str, CompiledStep]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for item in step.outward:
        name = item.step_id
        if name is not None and name in siblings and name != step.step_id and name not in step.listed:
            found[name] = found.get(name, False) or item.strict
    return found
