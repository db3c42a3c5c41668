"""What a turn came to, as JSON-ready data: what expectations are held against, what `save` picks from, what reports
hold.
"""

from collections.abc import Sequence
from typing import Any

from whet_agent.events import ApprovalAsked
from whet_agent.json_object import JsonObject
from whet_tui.cli.summary import branches_of
from whet_tui.entries import Answer, Call, Entry, Money, Note


def facts_of(entries: Sequence[Entry], *, spent: Money, seconds: float, asked: ApprovalAsked | None) -> JsonObject:
    """`entries` are the turn's own; `spent` is what it cost."""
    calls = [entry for entry in entries if isinstance(entry, Call)]
    answers = [entry for entry in entries if isinstance(entry, Answer) and entry.done]
    notes = [entry.text for entry in entries if isinstance(entry, Note)]
    fanouts = [call.fanout for call in calls if call.fanout is not None]
    return {
        "answer": answers[-1].text if answers else "",
        "simulated": answers[-1].simulated if answers else False,
        "text": "\n".join([*(call.result for call in calls), *(answer.text for answer in answers), *notes]),
        "run_id": next((call.run_id for call in reversed(calls) if call.fanout or call.judging), ""),
        "calls": [_call(call) for call in calls],
        "branches": [branch for fanout in fanouts for branch in branches_of(fanout)],
        "cost": {"settled_nanos": spent.settled, "unknown_nanos": spent.unknown, "reserved_nanos": spent.reserved},
        "duration": round(seconds, 3),
        "needs_approval": None if asked is None else _question(asked),
    }


def _call(call: Call) -> JsonObject:
    return {
        "tool": call.tool,
        "arguments_json": call.arguments_json,
        "state": call.state.value,
        "result": call.result,
        "run_id": call.run_id,
    }


def _question(asked: ApprovalAsked) -> JsonObject:
    return {
        "approval_id": asked.approval_id,
        "tool": asked.tool,
        "effect": asked.effect,
        "arguments_json": asked.arguments_json,
        "digest": asked.digest,
        "worst_cost_nanos": asked.worst_cost_nanos,
    }


def at(facts: JsonObject, path: str) -> str:
    """Return what stands at a path such as `branches.0.text`. Raises `LookupError`."""
    place: Any = facts
    for step in path.split("."):
        if isinstance(place, list) and step.isdecimal() and int(step) < len(place):
            place = place[int(step)]
        elif isinstance(place, dict) and step in place:
            place = place[step]
        else:
            raise LookupError(f"there is no {step!r} in {path!r}")
    if isinstance(place, dict | list) or place is None:
        raise LookupError(f"{path!r} is no single value")
    return str(place)
