"""What the graph's nodes do: plain async functions of (state, context) -> update. Nothing here knows the graph."""

from whet_agent.nodes.act import act, unnamed_file
from whet_agent.nodes.context import Context
from whet_agent.nodes.think import TooManySteps, think

__all__ = ["Context", "TooManySteps", "act", "think", "unnamed_file"]
