"""Make one call that the mind asked for, with a person's yes where the server wants one."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from google.protobuf.message import Message
from opentelemetry import trace

from whet.v1 import approval_pb2, options_pb2, sweep_pb2
from whet_agent.account import capped
from whet_agent.calls import Outcome, is_lost, make, unary
from whet_agent.catalogue import BadArguments, Tool, method_named, request_from, tools
from whet_agent.client import CallError
from whet_agent.conversation import NO_LONGER_FOLLOWED, Entry, OpenCall, arguments_of, from_tool, said
from whet_agent.events import ApprovalAsked, ToolAnswered, ToolAsked
from whet_agent.nodes.context import Context
from whet_agent.nodes.reporter import Reporter
from whet_agent.results import dollars
from whet_agent.upload import PATH

ASKS: Final = 3
"""How often one call may ask: an approval can expire while the person thinks, and the next one is asked for. More is
a quarrel with the server.
"""

CHANGED_NOTE: Final = "The person changed the arguments of this call; it was made as it stands now."
"""Opens what the mind is told of a call that is no longer the one it asked for."""

_tracer = trace.get_tracer("whet_agent")


def unnamed_file(call: OpenCall, entries: Sequence[Entry]) -> str:
    """Return the file that an upload would read though the person never named it, in words or by an edit: a mind that
    was talked into it by what it read shall not even look at such a file.
    """
    tool = tools().get(call.name)
    if tool is None or not tool.method.is_upload or call.changed:
        return ""
    try:
        path = str(arguments_of(call.arguments).get(PATH) or arguments_of(call.arguments).get("source") or "")
    except ValueError:
        return ""  # it will not be made
    return "" if said(entries, path) else path


async def act(call: OpenCall, turn: int, context: Context, *, unnamed: str = "") -> list[Entry]:
    """Return the answer to the call. Whatever goes wrong is an answer too: the mind is told and decides what to do.
    `unnamed` is a file that the call would read and the person has not named.
    """
    key = f"{context.session_id}/{call.k}"
    context.hear(ToolAsked(turn=turn, key=key, tool=call.name, arguments_json=call.arguments))
    with _tracer.start_as_current_span("whet.tool", attributes={"whet.tool": call.name, "whet.request_id": key}):
        if unnamed:
            outcome = Outcome(
                ok=False, text=f"Not done: the person has not named the file {unnamed!r}. Ask them for it."
            )
        else:
            outcome = await _outcome(call, turn, key, context)
    context.running.pop(key, None)
    if call.cap is not None and not outcome.ok:
        share = f"It could spend {dollars(call.cap)} at most: its share of what is left for the session."
        outcome = replace(outcome, text=f"{outcome.text}\n\n{share}")
    if call.changed:
        outcome = replace(outcome, text=f"{CHANGED_NOTE}\n\n{outcome.text}")
    context.hear(heard_answer(turn, key, call.name, outcome))
    return [
        from_tool(
            call,
            outcome.text,
            ok=outcome.ok,
            run=outcome.run_id,
            answer=outcome.answer,
            simulated=outcome.simulated,
            unsure=outcome.unsure,
        )
    ]


def heard_answer(turn: int, key: str, tool: str, outcome: Outcome) -> ToolAnswered:
    return ToolAnswered(turn=turn, key=key, tool=tool, ok=outcome.ok, text=outcome.text, run_id=outcome.run_id)


async def _outcome(call: OpenCall, turn: int, key: str, context: Context) -> Outcome:
    tool = context.tools.get(call.name)
    if tool is None:
        return Outcome(ok=False, text=f"There is no tool {call.name!r}. Tools: {', '.join(context.tools)}.")
    if refusal := context.decisions.refuses(key, tool):
        return Outcome(ok=False, text=f"Not done: {refusal}.")
    try:
        request = request_from(tool.method, arguments_of(call.arguments), request_id=key)
    except (BadArguments, ValueError) as error:
        return Outcome(ok=False, text=f"Not called: {error}")
    capped(request, call.cap)
    reporter = Reporter(turn=turn, key=key, hear=context.hear, running=context.running)
    try:
        return await _approved(tool, request, call.cap, context, reporter)
    except CallError as error:
        run_id = context.running.get(key, "")
        return Outcome(ok=False, text=_refusal(error), run_id=run_id, unsure=is_lost(error) and not run_id)


async def _approved(tool: Tool, request: Message, cap: int | None, context: Context, reporter: Reporter) -> Outcome:
    """Make the call; when the server wants a person's yes, ask for it and make the same call again.

    A node that waits for a person runs again from its start, so the refused call is made twice: it has no effect
    until it is granted, and its request id stays the same after that.
    """
    for _ in range(ASKS):
        try:
            return await _made(tool, request, context, reporter)
        except CallError as error:
            if error.reason not in {"APPROVAL_REQUIRED", "APPROVAL_NOT_OPEN"}:
                raise
            asked = await _question(error.metadata.get("approval_id", ""), tool, context, reporter)
        decision = await context.decisions.by_mode(asked, request, cap)
        if decision is None:
            context.hear(asked)
            decision = context.ask(asdict(asked))
        if not decision["granted"]:
            reason = str(decision.get("reason") or "no reason given")
            return Outcome(ok=False, text=f"Not done: rejected by the person: {reason}")
    return Outcome(ok=False, text="Not done: the approval ran out again and again. Ask the person what to do.")


async def _made(tool: Tool, request: Message, context: Context, reporter: Reporter) -> Outcome:
    """Make the call. A sweep may take a night: following one ends when the person says something, and the sweep goes
    on.
    """
    making = make(context.agent, tool, request, reporter)
    if not isinstance(request, sweep_pb2.WatchSweepRequest):
        return await making
    watching = asyncio.ensure_future(making)
    speaking = asyncio.ensure_future(context.spoken(reporter.turn))
    try:
        await asyncio.wait({watching, speaking}, return_when=asyncio.FIRST_COMPLETED)
        return watching.result() if watching.done() else Outcome(text=NO_LONGER_FOLLOWED, run_id=request.run_id)
    finally:
        watching.cancel()
        speaking.cancel()
        await asyncio.wait({watching, speaking})


async def _question(approval_id: str, tool: Tool, context: Context, reporter: Reporter) -> ApprovalAsked:
    """Fetch exactly what the server would hold the grant to."""
    method = method_named("ApprovalService", "GetApproval")
    answer: Any = await unary(context.agent, method, approval_pb2.GetApprovalRequest(approval_id=approval_id), reporter)
    approval: approval_pb2.Approval = answer.approval
    return ApprovalAsked(
        turn=reporter.turn,
        key=reporter.key,
        approval_id=approval.approval_id,
        tool=tool.name,
        summary=approval.summary or tool.summary,
        effect=options_pb2.Effect.Name(approval.effect).removeprefix("EFFECT_").lower(),
        arguments_json=approval.arguments_json,
        digest=approval.digest,
        worst_cost_nanos=approval.worst_cost.nanos,
        expires_at=approval.expire_time.ToJsonString(),
    )


def _refusal(error: CallError) -> str:
    fields = "".join(f"\n- {path}: {what}" for path, what in error.violations)
    reason = f" ({error.reason})" if error.reason else f" ({error.code})"
    return f"Failed: {error}{reason}{fields}"
