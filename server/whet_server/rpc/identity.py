"""Who calls: bearer tokens, the workspace and role each stands for, and which roles may make which call.

The file holds digests only, so that reading it opens nothing. It is read again when it changes; while it cannot be
read, what was known stays known, because a half-written file must not lock everybody out.
"""

import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from whet.v1 import (
    approval_pb2,
    calibration_pb2,
    dataset_pb2,
    fanout_pb2,
    hook_pb2,
    judge_pb2,
    ledger_pb2,
    model_pb2,
    rubric_pb2,
    scorer_pb2,
    sweep_pb2,
    trace_pb2,
    trial_pb2,
)
from whet_server.errors import RoleNotAllowed, TokenExpired, Unauthenticated
from whet_server.rpc.convert.values import rfc3339
from whet_server.values import Principal, Role, Value, Workspace

_log = logging.getLogger(__name__)

SERVICES: Final = (
    fanout_pb2.DESCRIPTOR.services_by_name["FanoutService"],
    model_pb2.DESCRIPTOR.services_by_name["ModelService"],
    ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"],
    approval_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
    trace_pb2.DESCRIPTOR.services_by_name["TraceService"],
    dataset_pb2.DESCRIPTOR.services_by_name["DatasetService"],
    scorer_pb2.DESCRIPTOR.services_by_name["ScorerService"],
    rubric_pb2.DESCRIPTOR.services_by_name["RubricService"],
    judge_pb2.DESCRIPTOR.services_by_name["JudgeService"],
    calibration_pb2.DESCRIPTOR.services_by_name["CalibrationService"],
    sweep_pb2.DESCRIPTOR.services_by_name["SweepService"],
    trial_pb2.DESCRIPTOR.services_by_name["TrialService"],
    hook_pb2.DESCRIPTOR.services_by_name["HookService"],
)
"""Every service of the contract that this server answers."""

_BOTH: Final = frozenset(Role)
_PERSON: Final = frozenset({Role.PERSON})
ALLOWED: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        "whet.v1.FanoutService/PlanFanout": _BOTH,
        "whet.v1.FanoutService/RunFanout": _BOTH,
        "whet.v1.FanoutService/StartFanout": _BOTH,
        "whet.v1.FanoutService/WatchFanout": _BOTH,
        "whet.v1.FanoutService/GetFanout": _BOTH,
        "whet.v1.FanoutService/ListFanouts": _BOTH,
        "whet.v1.FanoutService/CancelFanout": _BOTH,
        "whet.v1.ModelService/ListEndpoints": _BOTH,
        "whet.v1.ModelService/PutEndpoint": _BOTH,
        "whet.v1.ModelService/DeleteEndpoint": _BOTH,
        "whet.v1.ModelService/TestEndpoint": _BOTH,
        "whet.v1.ModelService/ListModels": _BOTH,
        "whet.v1.ModelService/GetCache": _BOTH,
        "whet.v1.ModelService/ClearCache": _BOTH,
        "whet.v1.LedgerService/GetUsage": _BOTH,
        "whet.v1.LedgerService/ListCaps": _BOTH,
        "whet.v1.LedgerService/PutCap": _BOTH,
        "whet.v1.LedgerService/DeleteCap": _BOTH,
        "whet.v1.LedgerService/Reserve": _BOTH,
        "whet.v1.LedgerService/Settle": _BOTH,
        "whet.v1.LedgerService/ListReservations": _BOTH,
        "whet.v1.ApprovalService/ListApprovals": _BOTH,
        "whet.v1.ApprovalService/GetApproval": _BOTH,
        "whet.v1.ApprovalService/DecideApproval": _PERSON,
        "whet.v1.TraceService/ListTraces": _BOTH,
        "whet.v1.TraceService/GetTrace": _BOTH,
        "whet.v1.TraceService/WatchTrace": _BOTH,
        "whet.v1.TraceService/ExportTrace": _BOTH,
        "whet.v1.TraceService/VerifyTrace": _BOTH,
        "whet.v1.DatasetService/PutDataset": _BOTH,
        "whet.v1.DatasetService/GetDataset": _BOTH,
        "whet.v1.DatasetService/ListDatasets": _BOTH,
        "whet.v1.DatasetService/ListRows": _BOTH,
        "whet.v1.DatasetService/ExportDataset": _BOTH,
        "whet.v1.DatasetService/SplitDataset": _BOTH,
        "whet.v1.DatasetService/TagDataset": _BOTH,
        "whet.v1.DatasetService/OpenSeal": _BOTH,
        "whet.v1.ScorerService/ListScorers": _BOTH,
        "whet.v1.ScorerService/ScoreItems": _BOTH,
        "whet.v1.ScorerService/ServeScorer": _BOTH,
        "whet.v1.RubricService/PutRubric": _BOTH,
        "whet.v1.RubricService/GetRubric": _BOTH,
        "whet.v1.RubricService/ListRubrics": _BOTH,
        "whet.v1.JudgeService/PlanJudgement": _BOTH,
        "whet.v1.JudgeService/RunJudgement": _BOTH,
        "whet.v1.JudgeService/StartJudgement": _BOTH,
        "whet.v1.JudgeService/WatchJudgement": _BOTH,
        "whet.v1.JudgeService/GetJudgement": _BOTH,
        "whet.v1.JudgeService/ListJudgements": _BOTH,
        "whet.v1.JudgeService/CancelJudgement": _BOTH,
        "whet.v1.JudgeService/GateJudgement": _BOTH,
        "whet.v1.CalibrationService/PutRatings": _PERSON,
        "whet.v1.CalibrationService/ListRatings": _BOTH,
        "whet.v1.CalibrationService/Calibrate": _BOTH,
        "whet.v1.CalibrationService/ListCalibrations": _BOTH,
        "whet.v1.CalibrationService/CheckJudge": _BOTH,
        "whet.v1.CalibrationService/PlanAudit": _BOTH,
        "whet.v1.CalibrationService/RunAudit": _BOTH,
        "whet.v1.CalibrationService/GetAudit": _BOTH,
        "whet.v1.SweepService/PlanSweep": _BOTH,
        "whet.v1.SweepService/StartSweep": _BOTH,
        "whet.v1.SweepService/WatchSweep": _BOTH,
        "whet.v1.SweepService/GetSweep": _BOTH,
        "whet.v1.SweepService/ListSweeps": _BOTH,
        "whet.v1.SweepService/ControlSweep": _BOTH,
        "whet.v1.SweepService/ExportSweep": _BOTH,
        "whet.v1.SweepService/ReportSweep": _BOTH,
        "whet.v1.TrialService/AskTrials": _BOTH,
        "whet.v1.TrialService/TellTrial": _BOTH,
        "whet.v1.TrialService/ListTrials": _BOTH,
        "whet.v1.TrialService/ListCases": _BOTH,
        "whet.v1.HookService/PutHook": _BOTH,
        "whet.v1.HookService/ListHooks": _BOTH,
        "whet.v1.HookService/DeleteHook": _BOTH,
        "whet.v1.HookService/TestHook": _BOTH,
        "whet.v1.HookService/ListDeliveries": _BOTH,
    }
)
"""The roles that may make each call. A call without a line here keeps the server from starting: nobody shall be let in
by forgetting."""


class TokenEntry(Value):
    """One token of `tokens.json`: the SHA-256 of its text in hexadecimal, never the text."""

    digest: str
    workspace: Workspace
    role: Role
    expire_ns: int | None = None


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def check_allowed(methods: Iterable[str]) -> None:
    """Raise `LookupError` for methods without a line in `ALLOWED`, and for lines without a method."""
    known = frozenset(methods)
    if wrong := known ^ ALLOWED.keys():
        raise LookupError(f"the table of roles and the contract differ: {', '.join(sorted(wrong))}")


class Tokens:
    """The tokens of one file."""

    def __init__(self, path: Path, *, clock: Callable[[], int]) -> None:
        self._path = path
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._entries: tuple[TokenEntry, ...] = ()

    def principal(self, token: str) -> Principal:
        """Return who the token stands for. Raises `Unauthenticated` or `TokenExpired`."""
        self._refresh()
        digest = digest_of(token)
        found: TokenEntry | None = None
        for entry in self._entries:
            # All entries are compared, so that the time taken does not tell which one came near.
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        if found is None:
            raise Unauthenticated("This server does not know the token. Use one from its data directory, or make one.")
        if found.expire_ns is not None and found.expire_ns <= self._clock():
            expired_at = rfc3339(found.expire_ns)
            raise TokenExpired(
                f"The token expired at {expired_at}. Make a new one where the server runs: whet serve token create.",
                metadata={"expired_at": expired_at},
            )
        return Principal(workspace=found.workspace, role=found.role)

    def _refresh(self) -> None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 -- called for every RPC, and this is the quick way
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if mark == self._seen:
                return
            self._entries = msgspec.json.decode(self._path.read_bytes(), type=tuple[TokenEntry, ...])
            self._seen = mark
        except (OSError, msgspec.MsgspecError) as error:
            _log.error("the tokens cannot be read, those read before stay valid: %s", error)


def bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the bearer token of a call's metadata. Raises `Unauthenticated`."""
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                return token.strip()
    raise Unauthenticated("The call has no token. Send `authorization: Bearer TOKEN` in its metadata.")


def authorise(principal: Principal, method: str) -> None:
    """Raise `RoleNotAllowed` unless the role may make the call."""
    if principal.role not in ALLOWED.get(method, frozenset()):
        raise RoleNotAllowed(
            f"A token of the role {principal.role} may not call {method}. It needs a person's token.",
            metadata={"role": principal.role.value, "method": method},
        )
