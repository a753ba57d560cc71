"""Tools: what agents and `tool_call` steps may call, whoever provides it."""

from orchestrator.agents.tools.python_tools import PythonTools, python_tools, tool
from orchestrator.agents.tools.specs import TOOL_NAME_PATTERN, ToolContext, ToolKind, ToolOffer, ToolSource, ToolSpec
from orchestrator.agents.tools.toolbox import Toolbox

__all__ = [
    "TOOL_NAME_PATTERN",
    "PythonTools",
    "ToolContext",
    "ToolKind",
    "ToolOffer",
    "ToolSource",
    "ToolSpec",
    "Toolbox",
    "python_tools",
    "tool",
]
