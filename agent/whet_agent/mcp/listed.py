"""Tools of the catalogue as the protocol lists them."""

from collections.abc import Mapping
from typing import Final

from mcp import types

from whet_agent.catalogue import Tool

_EFFECTS: Final[Mapping[str, str]] = {
    "reads": "Reads only: costs nothing and changes nothing.",
    "spends": "May cost money: above the workspace's threshold a person must approve it first.",
    "changes": "Changes something: a person must approve it first.",
}


def listed(tool: Tool) -> types.Tool:
    """Return the tool with its schema, and with hints made from its effect."""
    return types.Tool(
        name=tool.name,
        description=f"{tool.summary}. {_EFFECTS[tool.effect]}",
        inputSchema=dict(tool.schema),
        annotations=types.ToolAnnotations(
            title=tool.summary,
            readOnlyHint=tool.effect == "reads",
            destructiveHint=tool.effect == "changes",
            # What changes something sets, removes or ends it: a second time finds it so. What spends is paid again.
            idempotentHint=tool.effect != "spends",
            openWorldHint=tool.effect == "spends" or tool.name == "test_endpoint",
        ),
    )
