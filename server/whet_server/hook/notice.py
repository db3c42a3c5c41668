"""What a webhook is told: a run's end as JSON, the same bytes in every attempt."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from whet_server.hook.spec import Delivery
from whet_server.log.events import RunFinished, SweepConcluded, TrialStarted
from whet_server.log.log import EventLog
from whet_server.sweeping import SweepResult, configuration_of
from whet_server.values import NANOS_PER_USD, NANOSECONDS, Run, RunId, Workspace

_LAST_EVENTS: Final = 3
"""A sweep concludes right before it ends."""
_PAGE: Final = 100
"""Events read at once: a batch of cases can be large."""


async def notice(log: EventLog, delivery: Delivery) -> bytes:
    """Return the body of a delivery. Raises `RunNotFound` when its run is gone."""
    told: dict[str, Any] = {"delivery_id": delivery.delivery_id, "hook": delivery.hook}
    if delivery.run_id is None:
        told |= {"event": "test", "create_time": _moment(delivery.create_ns)}
    else:
        told |= {"event": "run.ended"} | await _run(log, await log.run(delivery.workspace, delivery.run_id))
    return msgspec.json.encode(told)


async def _run(log: EventLog, run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {
        "run_id": run.run_id,
        "kind": run.kind.value,
        "state": run.state.value,
        "title": run.title,
        "create_time": _moment(run.create_ns),
        "end_time": _moment(run.end_ns or 0),
        "settled_usd": run.totals.settled / NANOS_PER_USD,
    }
    last = await log.events(run.workspace, run.run_id, after=max(run.event_count - _LAST_EVENTS, 0))
    for payload in (event.payload for event in last):
        match payload:
            case SweepConcluded():
                told["sweep"] = await _sweep(log, run, payload.result)
            case RunFinished(failure=failure) if failure is not None:
                told["failure"] = {"reason": failure.reason, "message": failure.message}
            case _:
                pass
    return told


async def _sweep(log: EventLog, run: Run, result: SweepResult) -> dict[str, Any]:
    lift = result.lift
    told: dict[str, Any] = {
        "verdict": result.verdict.value,
        "finding": result.finding,
        "end": result.end.value,
        "simulated": result.simulated,
        "lift": {"mean": lift.value, "low": lift.low, "high": lift.high},
        "best": None,
    }
    if result.best is not None:
        told["best"] = {
            "number": result.best,
            "parameters": await _parameters(log, run.workspace, run.run_id, result.best),
        }
    return told


async def _parameters(log: EventLog, workspace: Workspace, run_id: RunId, number: int) -> dict[str, Any]:
    """Return the configuration of a trial, which stands where it began."""
    after = 0
    while page := await log.events(workspace, run_id, after=after, limit=_PAGE):
        for event in page:
            if isinstance(event.payload, TrialStarted) and event.payload.number == number:
                return configuration_of(event.payload.parameters)
        after = page[-1].sequence
    return {}


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / NANOSECONDS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
