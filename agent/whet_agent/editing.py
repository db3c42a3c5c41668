"""A person changes the arguments of a call that waits for their yes.

The question itself is rejected. The call stands in the conversation with its new arguments from then on, is made with
the same request id, and asks anew: nobody approves what they have not seen.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.message import Message

from whet_agent.catalogue import request_from, tools
from whet_agent.conversation import Entry, arguments_of, calls_of, open_calls
from whet_agent.events import ApprovalAsked

CHANGED: Final = "changed by the person"
"""The reason with which the question about the old arguments is rejected."""

HIDDEN: Final = "(given, not shown)"
"""What the server shows in place of a key. Left as it is, it stands for the key that the call was given."""


def checked(question: ApprovalAsked, text: str, asked_before: Iterable[ApprovalAsked]) -> str:
    """Return changed arguments as they are kept. Raises `ValueError` with a sentence when they do not fit the tool, or
    are those of a question that this call has asked already: the server holds to its answer.
    """
    try:
        arguments = arguments_of(text)
        request = _request(question.tool, text)
    except ValueError as error:
        raise ValueError(f"Not changed: {error}") from None
    if request == _request(question.tool, question.arguments_json):
        raise ValueError("Not changed: these are the arguments as they are. Change one, or approve or reject the call.")
    if any(request == _request(question.tool, earlier.arguments_json) for earlier in asked_before):
        raise ValueError("Not changed: this call has asked with these arguments before. Reject it and ask again.")
    return json.dumps(arguments, ensure_ascii=False)


def amended(entries: Sequence[Entry], edits: Mapping[str, str]) -> Entry | None:
    """Return the last thing the mind said with the changes to its open calls; None when it has them already. `edits`
    are changed arguments by the call's key in the conversation.
    """
    changes = {call.k: _merged(call.arguments, edits[call.k]) for call in open_calls(entries) if call.k in edits}
    stale = {call.k for call in open_calls(entries) if changes.get(call.k, call.arguments) != call.arguments}
    if not stale:
        return None
    last = next(entry for entry in reversed(entries) if entry["m"]["role"] == "assistant")
    requests = [
        {**request, "function": {**request["function"], "arguments": changes.get(call.k, call.arguments)}}
        for request, call in zip(last["m"]["tool_calls"], calls_of(last), strict=True)
    ]
    changed = sorted({*last.get("changed", ()), *stale})
    return {**last, "m": {**last["m"], "tool_calls": requests}, "changed": changed}


def _merged(current: str, edited: str) -> str:
    """Return the edited arguments with the keys that the person was not shown."""
    given, arguments = json.loads(current or "{}"), json.loads(edited)
    kept = {name: given[name] for name, value in arguments.items() if value == HIDDEN and name in given}
    return json.dumps({**arguments, **kept}, ensure_ascii=False)


def _request(tool: str, text: str) -> Message:
    return request_from(tools()[tool].method, arguments_of(text))
