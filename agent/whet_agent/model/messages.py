"""The conversation as the chat completions API wants it."""

from collections.abc import Iterable, Sequence
from typing import Final

from whet.v1 import sweep_pb2
from whet_agent.catalogue import Tool
from whet_agent.conversation import Entry, turn_of
from whet_agent.events import Compacted
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.model.base import Moment
from whet_agent.model.roles import alternating
from whet_agent.plain import descriptor_of
from whet_agent.results import as_data, fenced, shorten
from whet_agent.runs import RUNNING
from whet_prompts import load

HISTORY_CHARACTERS: Final = 200_000
"""About 50,000 tokens. Tool results further back are cut short; the mind can ask again."""
OLD_RESULT_CHARACTERS: Final = 300

_TOLD: Final = (*RUNNING, sweep_pb2.StartSweepRequest)
"""Requests whose work is written out."""
_LARGE: Final = 500
"""Characters of a part of a schema from which it is worth a pointer."""


def request_of(moment: Moment) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return the messages and the tools of a request."""
    messages: list[JsonObject] = [{"role": "system", "content": load(moment.prompt).text}]
    later = moment.entries
    if moment.earlier is not None:
        messages += _summary(moment.earlier)
        # A turn is read whole or not at all: a call without its answers would be refused.
        later = [entry for entry in later if turn_of(entry) > moment.earlier.upto]
    messages += messages_of(later)
    return alternating(messages), tool_schemas(moment.tools.values())


def messages_of(entries: Sequence[Entry]) -> list[JsonObject]:
    """Return entries as messages: tool results as data, old ones cut short."""
    messages: list[JsonObject] = []
    room = HISTORY_CHARACTERS
    for entry in reversed(entries):
        message = dict(entry["m"])
        if message["role"] == "tool":
            limit = len(message["content"]) if room > 0 else OLD_RESULT_CHARACTERS
            message["content"] = as_data(
                entry.get("tool", "a tool"), shorten(message["content"], limit, "call the tool again")
            )
        room -= len(message["content"])
        messages.append(message)
    return messages[::-1]


def tool_schemas(tools: Iterable[Tool]) -> list[JsonObject]:
    """Return the tools as a request names them. What a plan and a start take is what the run itself takes, and what a
    sweep takes holds what fan-outs and judgements do: each is written out once, or the tools alone would fill a quarter
    of a usual window.
    """
    tools = list(tools)
    running = {_spec_of(tool): tool for tool in tools if issubclass(tool.method.request, _TOLD)}
    return [_schema(tool, running.get(_spec_of(tool), tool), list(running.values())) for tool in tools]


def _spec_of(tool: Tool) -> str:
    """Return the name of the message that holds a run's work; empty for a tool without one."""
    spec = descriptor_of(tool.method.request).fields_by_name.get("spec")
    return spec.message_type.full_name if spec is not None and spec.message_type is not None else ""


def _schema(tool: Tool, told_by: Tool, running: Sequence[Tool]) -> JsonObject:
    notes = {"spends": " May cost money.", "changes": " Changes something: a person is asked first."}
    parameters = tool.schema
    if told_by is not tool:
        same: JsonObject = {"type": "object", "description": f"The same fields as the spec of `{told_by.name}`."}
        parameters = {**parameters, "properties": {**parameters["properties"], "spec": same}}
    elif tool in running:
        spec = _without_told(parameters["properties"]["spec"], running[: running.index(tool)])
        parameters = {**parameters, "properties": {**parameters["properties"], "spec": spec}}
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": f"{tool.summary}.{notes.get(tool.effect, '')}",
            "parameters": parameters,
        },
    }


def _without_told(spec: JsonView, before: Sequence[Tool]) -> JsonObject:
    """Return the schema of a run's work with a pointer in place of each large part that another tool has told."""
    properties = dict(spec["properties"])
    for other in before:
        work = other.schema["properties"]["spec"]
        for name, part in spec["properties"].items():
            if len(str(part)) > _LARGE and part.get("properties") == work["properties"]:
                properties[name] = {"type": "object", "description": f"The same fields as the spec of `{other.name}`."}
            elif len(str(part)) > _LARGE and part == work["properties"].get(name):
                told = f"{part.get('description', '')} As `{name}` in the spec of `{other.name}`."
                properties[name] = {"type": part["type"], "description": told.lstrip()}
    return {**spec, "properties": properties}


def _summary(earlier: Compacted) -> Sequence[JsonObject]:
    """Return a summary as a question with its answer: some servers refuse two messages of one role in a row."""
    told = fenced(f"Summary of the conversation's turns up to {earlier.upto}", earlier.summary)
    return [{"role": "user", "content": told}, {"role": "assistant", "content": "I have read the summary."}]
