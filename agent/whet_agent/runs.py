"""Which kinds of runs there are, and how each is followed, cancelled, fetched and planned.

A run's id says of which kind it is. Whoever has one, from a call, a journal or a crash, needs nothing else.
"""

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from whet.v1 import calibration_pb2, event_pb2, fanout_pb2, judge_pb2, sweep_pb2, trace_pb2
from whet_agent.catalogue import Method, method_named
from whet_agent.fanouts import FanoutFold, fetched_fanout
from whet_agent.folds import Fold
from whet_agent.judgements import AuditFold, JudgementFold, fetched_audit, fetched_judgement
from whet_agent.sweeps import SweepFold, fetched_sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKind:
    """One kind of run: what its ids begin with, its fold, and its calls as service and method."""

    prefix: str
    fold: type[Fold]
    spec: type[Message]
    plan: tuple[str, str]
    watch: tuple[str, str]
    cancel: tuple[str, str]
    get: tuple[str, str]


FANOUT: Final = RunKind(
    prefix="fan_",
    fold=FanoutFold,
    spec=fanout_pb2.FanoutSpec,
    plan=("FanoutService", "PlanFanout"),
    watch=("FanoutService", "WatchFanout"),
    cancel=("FanoutService", "CancelFanout"),
    get=("FanoutService", "GetFanout"),
)
JUDGEMENT: Final = RunKind(
    prefix="jud_",
    fold=JudgementFold,
    spec=judge_pb2.JudgementSpec,
    plan=("JudgeService", "PlanJudgement"),
    watch=("JudgeService", "WatchJudgement"),
    cancel=("JudgeService", "CancelJudgement"),
    get=("JudgeService", "GetJudgement"),
)
AUDIT: Final = RunKind(
    prefix="aud_",
    fold=AuditFold,
    spec=calibration_pb2.AuditSpec,
    plan=("CalibrationService", "PlanAudit"),
    watch=("JudgeService", "WatchJudgement"),
    cancel=("JudgeService", "CancelJudgement"),
    get=("CalibrationService", "GetAudit"),
)
SWEEP: Final = RunKind(
    prefix="swp_",
    fold=SweepFold,
    spec=sweep_pb2.SweepSpec,
    plan=("SweepService", "PlanSweep"),
    watch=("SweepService", "WatchSweep"),
    cancel=("SweepService", "ControlSweep"),
    get=("SweepService", "GetSweep"),
)
KINDS: Final = (FANOUT, JUDGEMENT, AUDIT, SWEEP)

RUNNING: Final = (fanout_pb2.RunFanoutRequest, judge_pb2.RunJudgementRequest, calibration_pb2.RunAuditRequest)
"""Requests that begin a run and stream it."""
IN_BACKGROUND: Final = (
    fanout_pb2.StartFanoutRequest,
    judge_pb2.StartJudgementRequest,
    sweep_pb2.StartSweepRequest,
)
"""Requests that begin a run and leave it."""
BEGINNING: Final = (*RUNNING, *IN_BACKGROUND)
"""Requests that begin a run. Each has a spec with a cap."""

STARTING_TOOLS: Final = frozenset({"fanout", "start_fanout", "judge", "start_judgement", "audit_judge", "sweep"})
"""Tools that begin a run."""
FOLLOWING_TOOLS: Final = frozenset({"fanout", "watch_fanout", "judge", "watch_judgement", "audit_judge", "watch_sweep"})
"""Tools that tell a run event by event until its end."""


def kind_of(run_id: str) -> RunKind:
    """Return the kind of the run with this id; ids of no known kind are taken for fan-outs."""
    return next((kind for kind in KINDS if run_id.startswith(kind.prefix)), FANOUT)


def kind_for(spec: Message) -> RunKind | None:
    """Return the kind of run that a spec describes; None for what describes none."""
    return next((kind for kind in KINDS if isinstance(spec, kind.spec)), None)


def watching(run_id: str, cursor: str = "") -> tuple[Method, Message]:
    """Return the call that follows a run from a cursor on."""
    method = method_named(*kind_of(run_id).watch)
    request = method.request(run_id=run_id, cursor=cursor)
    if isinstance(request, sweep_pb2.WatchSweepRequest):
        request.without_cases = True  # a hundred thousand answers, of which nobody here looks at one
    return method, request


def cancelling(run_id: str) -> tuple[Method, Message]:
    """Return the call that cancels a run."""
    method = method_named(*kind_of(run_id).cancel)
    request = method.request(run_id=run_id)
    if isinstance(request, sweep_pb2.ControlSweepRequest):
        request.action = event_pb2.SWEEP_ACTION_CANCEL
    return method, request


def fetching(run_id: str) -> tuple[Method, Message]:
    """Return the call that fetches a run; of its items, if it has any, no more than it must."""
    method = method_named(*kind_of(run_id).get)
    request = method.request(run_id=run_id)
    if isinstance(request, judge_pb2.GetJudgementRequest):
        request.page.size = 1
    return method, request


def fold_of(answer: Message) -> Fold | None:
    """Return the fold of a run that was fetched; None for any other answer."""
    match answer:
        case fanout_pb2.GetFanoutResponse():
            return fetched_fanout(answer.fanout)
        case judge_pb2.GetJudgementResponse():
            return fetched_judgement(answer)
        case calibration_pb2.GetAuditResponse():
            return fetched_audit(answer)
        case sweep_pb2.GetSweepResponse() | sweep_pb2.ControlSweepResponse():
            return fetched_sweep(answer.sweep)
        case _:
            return None


def capped_by(spec: Message) -> tuple[Any, str]:
    """Return where a spec keeps the most that its run may spend: the message and the field."""
    return (spec.budget, "money") if isinstance(spec, sweep_pb2.SweepSpec) else (spec, "cap")


def named_by(answer: Message) -> str:
    """Return the id of the run that a call has begun, as its answer names it; empty for any other answer."""
    match answer:
        case fanout_pb2.StartFanoutResponse():
            return answer.fanout.run_id
        case judge_pb2.StartJudgementResponse():
            return answer.judgement.run_id
        case sweep_pb2.StartSweepResponse():
            return answer.sweep.run_id
        case fanout_pb2.RunFanoutResponse() | judge_pb2.RunJudgementResponse() | calibration_pb2.RunAuditResponse():
            return answer.run_id
        case _:
            return ""


def again(method: Method, run_id: str, cursor: str) -> tuple[Method, Message]:
    """Return the call that attaches again to a run whose stream has broken."""
    if method.name == "WatchTrace":
        return method, trace_pb2.WatchTraceRequest(run_id=run_id, cursor=cursor)
    return watching(run_id, cursor)
