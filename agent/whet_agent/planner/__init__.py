"""The offline planner: a mind without a model. It maps slash commands and plain sentences to one tool call, or asks
back.
"""

from whet_agent.planner.commands_first import CommandsFirst
from whet_agent.planner.planner import OfflinePlanner

__all__ = ["CommandsFirst", "OfflinePlanner"]
