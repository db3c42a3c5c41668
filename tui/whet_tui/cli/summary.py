"""How a conversation without a screen ended, as one JSON object."""

from typing import Any, Final

from whet_tui.cli.exits import INTERRUPTED, NEEDS_DECISION, TRY_AGAIN
from whet_tui.cli.talk import Talk
from whet_tui.entries import Answer, Card, Fanout, Money

_WITHOUT_END: Final = {NEEDS_DECISION: "needs_decision", INTERRUPTED: "cancelled", TRY_AGAIN: "cancelled"}
"""How a command stands in which no turn has ended."""


def summary_of(talk: Talk, code: int, failure: str = "") -> dict[str, Any]:
    """Return the last answer, what it stands on and what it cost."""
    view, fanout = talk.view, talk.last_fanout
    answer = next((entry for entry in reversed(view.entries) if isinstance(entry, Answer) and entry.done), None)
    ended = talk.ended[max(talk.ended)] if talk.ended else None
    return {
        "answer": answer.text if answer is not None else "",
        "author": answer.author if answer is not None else "",
        "simulated": answer.simulated if answer is not None else False,
        "state": ended.state if ended is not None and code != NEEDS_DECISION else _WITHOUT_END.get(code, "failed"),
        "failure": failure or (ended.failure if ended is not None else ""),
        "exit_code": code,
        "session_id": talk.session_id,
        "run_id": fanout.run_id if fanout is not None else "",
        "cost": cost_of(view.status.money),
        "usage": {"input_tokens": view.status.input_tokens, "output_tokens": view.status.output_tokens},
        "branches": branches_of(fanout) if fanout is not None else [],
        "approvals": [_approval(card, talk) for card in view.cards.values()],
    }


def cost_of(money: Money) -> dict[str, int]:
    return {"settled_nanos": money.settled, "unknown_nanos": money.unknown, "reserved_nanos": money.reserved}


def branches_of(fanout: Fanout) -> list[dict[str, Any]]:
    return [
        {
            "branch_id": lane.branch_id,
            "model": lane.model,
            "state": lane.state.value,
            "text": lane.text,
            "failure": lane.failure,
            "simulated": lane.simulated,
            "cached": lane.cached,
            "latency": lane.latency_ns / 1e9,
            "cost": cost_of(lane.money),
        }
        for lane in fanout.lanes.values()
    ]


def _approval(card: Card, talk: Talk) -> dict[str, Any]:
    """What waits for a person, with the commands that decide it and go on."""
    return {
        "approval_id": card.approval_id,
        "tool": card.tool,
        "summary": card.summary,
        "effect": card.effect,
        "arguments_json": card.arguments_json,
        "digest": card.digest,
        "worst_cost_nanos": card.worst_cost_nanos,
        "expires_at": card.expires_at,
        "decide": talk.decide_command(card),
        "resume": talk.resume_command,
    }
