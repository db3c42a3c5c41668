"""What becomes of the branches that a crash left open: what may have been paid is not paid again (`llm/paid.py`). What
the first asking of a branch has cost is added to what the second says.
"""

from collections.abc import Mapping

from whet_server.fanout.plan import branch_calls, draft_id
from whet_server.fanout.spec import FanoutSpec
from whet_server.fanout.view import History
from whet_server.llm.paid import INTERRUPTED, Paid
from whet_server.log.events import BranchFinished, DraftEnded
from whet_server.log.lifecycle import BranchState
from whet_server.values import BranchId, Run, Totals


async def interrupted(
    paid: Paid, run: Run, spec: FanoutSpec, history: History
) -> tuple[list[BranchFinished], list[DraftEnded], Mapping[BranchId, Totals]]:
    """Return the ends of the branches that are not asked again and of the draft that was being written, and what was
    spent on branches that are asked again.
    """
    branches = []
    spent = {}
    for plan, call in zip(
        history.opened.branches,
        branch_calls(run.workspace, run.run_id, spec, history.opened.branches),
        strict=True,
    ):
        if plan.branch_id in history.finished:
            continue
        totals = paid.totals(call.call_id)
        if await paid.again(call):
            branches.append(
                BranchFinished(
                    branch_id=plan.branch_id,
                    state=BranchState.FAILED,
                    model=plan.model,
                    failure=INTERRUPTED,
                    totals=totals,
                    simulated=plan.simulated,
                )
            )
        else:
            spent[plan.branch_id] = totals
    drafts = [
        DraftEnded(
            revision=revision,
            state=BranchState.FAILED,
            model=started.model,
            failure=INTERRUPTED,
            totals=paid.totals(draft_id(run.run_id, revision)),
        )
        for revision, started in history.started.items()
        if revision not in history.ended
    ]
    return branches, drafts, spent
