"""An agent in Python: sums texts up, each text once."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from orchestrator.agents import AgentContext, BaseAgent
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AgentFailed

SUMMARY: dict[str, Any] = {
    "type": "object",
    "properties": {"summary": {"type": "string", "minLength": 1}},
    "required": ["summary"],
}


class NothingToDigest(ValueError):
    """The parameters hold no text."""


class DigestAgent(BaseAgent):
    """Remembers what it has summed up, for all workers: the same text costs no second model call."""

    agent_type: ClassVar[str] = "digest"
    description: ClassVar[str] = "Sums a text up in one sentence; a text that it knows costs nothing."

    async def execute(self, task: str, parameters: Any, context: AgentContext) -> Any:
        """Return `{summary, words, known}` of `parameters.text`."""
        text = parameters.get("text") if isinstance(parameters, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise NothingToDigest("parameters.text holds no text")
        key = hashlib.sha256(text.encode()).hexdigest()
        found = await self.state.get(key)
        known = found is not None
        if not known:
            found = await context.ask_model(
                f"Task: {task}\nSum this text up in one sentence.\n\n{text}",
                instructions="You sum texts up, without adding anything.",
                output_schema=SUMMARY,
            )
            await self.state.set(key, found)
        self.log.info("digested", words=len(text.split()), known=known, execution_id=context.execution_id)
        return {"summary": found["summary"], "words": len(text.split()), "known": known}

    def classify(self, error: Exception) -> OrchestratorError:
        """A missing text stays missing: another try makes no sense."""
        if isinstance(error, NothingToDigest):
            return AgentFailed(str(error), hint="pass the text in `parameters`", retryable=False)
        return super().classify(error)
