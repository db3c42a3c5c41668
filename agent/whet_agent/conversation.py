"""What the mind and the tools have said to each other: entries with keys, so that saying something twice changes
nothing.

An entry wraps a message of the chat completions protocol. Keys are `TURN/user`, `TURN/steer.N` for what the person
said into the running turn, `TURN/STEP` for what the mind said and `TURN/STEP.N` for the answer to its N-th call; with
the session's id in front the last one is the RPC's request id.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Required, TypedDict

from whet_agent.json_object import JsonObject, JsonView

CANCELLED = "cancelled by the person"
"""What an open call is answered with after a cancel."""


NO_LONGER_FOLLOWED = "No longer followed, because the person has said something. The sweep goes on by itself."
"""What following a sweep is answered with then: it may be followed again."""

NOT_JSON = "not_json"
"""The name under which arguments that could not be read are kept, so that the conversation itself stays readable."""


class Entry(TypedDict, total=False):
    """One message in its place. `m` is the message; the rest is what the planner and the journal want to know of it
    beside its words.
    """

    k: Required[str]
    m: Required[JsonObject]
    author: str
    """Who said it, for what the mind says; empty when nobody did and a cut turn had to be closed."""
    tool: str
    """Which tool answers."""
    run: str
    """The run that the tool made or showed."""
    answer: str
    """The run's own answer: its synthesis, or its only branch."""
    ok: bool
    simulated: bool
    quoted: bool
    """The mind's text is the answer of the run `run`, word for word."""
    changed: list[str]
    """The keys of calls whose arguments the person has changed."""
    caps: dict[str, int]
    """The most that each of these calls may spend, in nanos, by its key: shares of what was left for the session."""
    unsure: bool
    """The call may have begun a run, though nobody knows which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """A call that the mind asks for. `arguments` is JSON text as it came, perhaps broken."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A call of the last thing the mind said. `k` is the key of its answer."""

    k: str
    call_id: str
    name: str
    arguments: str
    changed: bool = False
    """The person has changed the arguments."""
    cap: int | None = None
    """The most that it may spend, in nanos."""


def upsert(entries: Sequence[Entry] | None, writes: Iterable[Sequence[Entry]]) -> list[Entry]:
    """Return the conversation with what was written: a known key keeps its place. One write after the other gives the
    same as all at once.
    """
    merged = {entry["k"]: entry for entry in entries or ()}
    for write in writes:
        merged.update((entry["k"], entry) for entry in write)
    return list(merged.values())


def from_user(turn: int, text: str) -> Entry:
    return {"k": f"{turn}/user", "m": {"role": "user", "content": text}}


def from_steer(turn: int, number: int, text: str) -> Entry:
    return {"k": f"{turn}/steer.{number}", "m": {"role": "user", "content": text}}


def from_mind(turn: int, step: int, text: str, calls: Sequence[ToolRequest] = (), *, author: str) -> Entry:
    message: JsonObject = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    return {"k": f"{turn}/{step}", "m": message, "author": author}


def from_tool(
    call: OpenCall,
    text: str,
    *,
    ok: bool,
    run: str = "",
    answer: str = "",
    simulated: bool = False,
    unsure: bool = False,
) -> Entry:
    return {
        "k": call.k,
        "m": {"role": "tool", "tool_call_id": call.call_id, "content": text},
        "tool": call.name,
        "run": run,
        "answer": answer,
        "ok": ok,
        "simulated": simulated,
        "unsure": unsure,
    }


def unlimited(entry: Entry) -> Entry:
    """Return an entry as another session has it, which does not pay for the calls and holds nothing for them."""
    copy = entry.copy()
    copy.pop("caps", None)
    return copy


def calls_of(entry: Entry) -> list[OpenCall]:
    """Return the calls that an entry asks for, answered or not."""
    return [
        OpenCall(
            k=f"{entry['k']}.{number}",
            call_id=call["id"],
            name=call["function"]["name"],
            arguments=call["function"]["arguments"],
            changed=f"{entry['k']}.{number}" in entry.get("changed", ()),
            cap=entry.get("caps", {}).get(f"{entry['k']}.{number}"),
        )
        for number, call in enumerate(entry["m"].get("tool_calls", ()), start=1)
    ]


def open_calls(entries: Sequence[Entry]) -> list[OpenCall]:
    """Return the calls of the last thing the mind said that nobody has answered."""
    for entry in reversed(entries):
        if entry["m"]["role"] == "assistant":
            answered = {other["k"] for other in entries}
            return [call for call in calls_of(entry) if call.k not in answered]
    return []


def next_step(entries: Sequence[Entry], turn: int) -> int:
    """Return the number of the step that the mind takes next in this turn, from 1."""
    return 1 + sum(1 for e in entries if e["m"]["role"] == "assistant" and turn_of(e) == turn)


def turn_of(entry: Entry) -> int:
    return int(entry["k"].partition("/")[0])


def said(entries: Sequence[Entry], words: str) -> bool:
    """Whether the person has said these words in this conversation."""
    return any(words in str(entry["m"]["content"]) for entry in entries if entry["m"]["role"] == "user")


def arguments_of(text: str) -> JsonView:
    """Read a call's arguments. Raises `ValueError` with what to do when they are not a JSON object."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(
            f"the arguments are not JSON ({error}); send the call again with a whole JSON object"
        ) from None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments must be a JSON object; send the call again")  # noqa: TRY004 -- a wrong value
    if NOT_JSON in arguments:
        raise ValueError("the arguments are not a whole JSON object; send the call again with one")
    return arguments
