"""Put messages so that the strictest servers take them.

Some refuse a user's message straight after another one or after a tool's. A person may say several things before the
mind speaks, and may steer while its tools run.
"""

from collections.abc import Sequence
from typing import Final

from whet_agent.json_object import JsonObject

INTERRUPTED: Final = "(The person says something before I go on.)"
"""Stands between a tool's answer and what the person said meanwhile."""


def alternating(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the messages with neighbours of the person's made one, and a word of the mind's between tools and them."""
    fitting: list[JsonObject] = []
    for message in messages:
        before = fitting[-1]["role"] if fitting else ""
        if message["role"] == "user" and before == "user":
            fitting[-1] = {**message, "content": f"{fitting[-1]['content']}\n\n{message['content']}"}
            continue
        if message["role"] == "user" and before == "tool":
            fitting.append({"role": "assistant", "content": INTERRUPTED})
        fitting.append(message)
    return fitting
