"""What becomes of the questions that a crash left open: what may have been paid is not asked again (`llm/paid.py`)."""

from collections.abc import Sequence

from whet_server.judge import asking
from whet_server.judge.plan import call_of, questions
from whet_server.judge.run import History
from whet_server.judge.spec import JudgementRecord
from whet_server.judging import Item, Outcome, Verdict
from whet_server.llm.paid import INTERRUPTED, Paid
from whet_server.log.events import Event, JudgementSummed, VerdictsReached
from whet_server.values import CallId, Run, Totals


def verdicts_of(events: Sequence[Event]) -> tuple[Verdict, ...]:
    """Return the verdicts on the record, in the order in which they came."""
    return tuple(
        verdict for event in events if isinstance(event.payload, VerdictsReached) for verdict in event.payload.verdicts
    )


async def taken_up(
    paid: Paid, run: Run, record: JudgementRecord, items: Sequence[Item], events: Sequence[Event]
) -> tuple[History, list[Verdict]]:
    """Return what is on the record, and the verdicts of the questions that are not asked again."""
    kept = verdicts_of(events)
    known = frozenset(map(asking.key, kept))
    closed: list[Verdict] = []
    spent: dict[asking.Key, Totals] = {}
    for number, question in enumerate(questions(record, items), start=1):
        key = asking.key(question)
        if key in known:
            continue
        call = call_of(record, question, run.workspace, run.run_id, number)
        repair = CallId(call.call_id + asking.REPAIR)
        if not (paid.knows(call) or paid.totals(repair).attempts):
            continue
        totals = paid.totals(call.call_id) + paid.totals(repair)
        if await paid.again(call) or await paid.owes(call, repair):
            closed.append(asking.unanswered(question, Outcome.FAILED, INTERRUPTED, totals))
        else:
            spent[key] = totals
    summed = any(isinstance(event.payload, JudgementSummed) for event in events)
    return History((*kept, *closed), summed, spent), closed
