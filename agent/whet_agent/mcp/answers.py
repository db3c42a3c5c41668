"""What became of a call, as the protocol's result: text for the model that reads it, data for whoever computes with
it.
"""

import json
from typing import Any, Final, cast

from mcp import types

from whet.v1 import approval_pb2
from whet_agent.calls import Backend, Outcome
from whet_agent.catalogue import method_named, to_plain
from whet_agent.client import CallError
from whet_agent.granting import decide_command
from whet_agent.json_object import JsonObject
from whet_agent.results import dollars

STRUCTURED_CHARACTERS: Final = 48_000
"""Data beyond this would fill the context of the model that reads it; the text says how to ask for less."""


def answered(outcome: Outcome) -> types.CallToolResult:
    """Return the result of a call that was made."""
    data = to_plain(outcome.message) if outcome.message is not None else None
    if data is not None and len(json.dumps(data, ensure_ascii=False)) > STRUCTURED_CHARACTERS:
        data = None
    return _result(outcome.text, data, ok=outcome.ok)


def not_made(text: str) -> types.CallToolResult:
    """Return the result of a call whose arguments do not fit."""
    return _result(f"Not called: {text}", {"reason": "BAD_ARGUMENTS"}, ok=False)


def refused(error: CallError) -> types.CallToolResult:
    """Return what the server said no to, and what to do."""
    lines = [f"Failed: {error} ({error.reason or error.code})"]
    lines += [f"- {path}: {what}" for path, what in error.violations]
    if error.retry_after is not None:
        lines.append(f"Try again in {error.retry_after:g} seconds.")
    elif error.reason == "APPROVAL_NOT_OPEN":
        lines.append("A person said no. Do something else; the same call made again asks again.")
    elif error.reason == "CAP_EXCEEDED":
        lines.append("list_caps shows what is left. Only a person can raise a cap.")
    elif error.code == "NOT_FOUND":
        lines.append("The tool that lists such things knows their ids.")
    data: JsonObject = {"reason": error.reason or error.code, "code": error.code, "metadata": dict(error.metadata)}
    if error.retry_after is not None:
        data["retry_after"] = error.retry_after
    return _result("\n".join(lines), data, ok=False)


async def needs_person(error: CallError, backend: Backend, program: str) -> types.CallToolResult:
    """Return what a person must decide, exactly, and how. Raises `CallError`."""
    request = approval_pb2.GetApprovalRequest(approval_id=error.metadata.get("approval_id", ""))
    answer = await backend.call(method_named("ApprovalService", "GetApproval"), request)
    approval = cast("approval_pb2.GetApprovalResponse", answer).approval
    command = decide_command(approval.approval_id, approval.digest, program=program)
    expires, worst = approval.expire_time.ToJsonString(), dollars(approval.worst_cost.nanos)
    text = (
        f"Not done yet: a person must approve this first: {approval.summary}.\n\n"
        f"- approval: {approval.approval_id}\n- worst cost: {worst}\n- open until: {expires}\n"
        f"- digest of the arguments: {approval.digest}\n\n```json\n{approval.arguments_json}\n```\n\n"
        f"You cannot decide this. Show it to the person, who decides with:\n\n    {command}\n\n"
        "Afterwards make the same call again with the same arguments: it is carried out then, once."
    )
    data: JsonObject = {
        "reason": error.reason,
        "approval_id": approval.approval_id,
        "digest": approval.digest,
        "worst_cost": worst,
        "expire_time": expires,
        "command": command,
    }
    return _result(text, data, ok=False)


def _result(text: str, data: dict[str, Any] | None, *, ok: bool) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structuredContent=data, isError=not ok)
