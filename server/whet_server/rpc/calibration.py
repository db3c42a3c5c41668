"""CalibrationService: unpack, call, pack. Its calls about audits are in `rpc/audit.py`."""

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from whet.v1 import calibration_pb2, calibration_pb2_grpc, judging_pb2
from whet_server.audit.audits import Audits
from whet_server.calibration import sheet
from whet_server.calibration.calibrations import Calibrations
from whet_server.calibration.ratings import Added, Origin, Ratings
from whet_server.calibration.sheet import Given, Wrong
from whet_server.calibration.standing import MIN_KAPPA, Calibration, KeptCalibration, Standing, stand
from whet_server.dataset.datasets import Datasets
from whet_server.dataset.spec import DatasetRef
from whet_server.errors import InvalidField, NotFound
from whet_server.judge.judgements import Judgements
from whet_server.judging import Judge, Rating
from whet_server.rpc import calls
from whet_server.rpc.audit import AuditCalls
from whet_server.rpc.changing import Changing
from whet_server.rpc.convert.mirror import message_of, value_of
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests, Turn
from whet_server.rpc.running import Running
from whet_server.values import RunId, Workspace, new_id

_PUT: Final = "whet.v1.CalibrationService/PutRatings"
_CALIBRATE: Final = "whet.v1.CalibrationService/Calibrate"


class CalibrationServicer(AuditCalls, calibration_pb2_grpc.CalibrationServiceServicer):
    """The ratings, calibrations and audits of the workspace that calls."""

    def __init__(
        self,
        ratings: Ratings,
        calibrations: Calibrations,
        judgements: Judgements,
        datasets: Datasets,
        audits: Audits,
        requests: Requests,
        changing: Changing,
        running: Running,
    ) -> None:
        super().__init__(audits, judgements, running)
        self._ratings = ratings
        self._calibrations = calibrations
        self._judgements = judgements
        self._datasets = datasets
        self._requests = requests
        self._changing = changing

    async def PutRatings(
        self, request: calibration_pb2.PutRatingsRequest, context: Context
    ) -> calibration_pb2.PutRatingsResponse:
        return await self._requests.whole(self._put(request))

    async def _put(self, request: calibration_pb2.PutRatingsRequest) -> calibration_pb2.PutRatingsResponse:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, _PUT, request.request_id, request) as turn:
            if turn.answer is None:
                given, wrong = await asyncio.to_thread(_given, request)
                added = await self._ratings.put(
                    principal,
                    given,
                    await self._origin(principal.workspace, request),
                    wrong=wrong,
                    also=lambda made: turn.record(f"{made.added} {made.replaced}"),
                )
            else:
                new, _, replaced = turn.answer.partition(" ")
                added = Added(added=int(new), replaced=int(replaced))
        return message_of(added, calibration_pb2.PutRatingsResponse)

    async def _origin(self, workspace: Workspace, request: calibration_pb2.PutRatingsRequest) -> Origin:
        """Return the items that ratings may name. A sealed hold-out's rows are not among them."""
        if request.run_id and request.HasField("dataset"):
            raise InvalidField(("run_id", "Name a run or a data set, not both."))
        if request.run_id:
            judged, rubrics = await self._judgements.rated(workspace, RunId(request.run_id))
            return Origin(items={item.item_id: item for item in judged}, run_id=request.run_id, rubrics=rubrics)
        if request.HasField("dataset"):
            selection = await self._datasets.items(workspace, value_of(request.dataset, DatasetRef))
            items = {item.item_id: item for item in selection.items}
            return Origin(items=items, dataset=f"{selection.name}@{selection.version}")
        return Origin()

    async def ListRatings(
        self, request: calibration_pb2.ListRatingsRequest, context: Context
    ) -> calibration_pb2.ListRatingsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "ratings", workspace, request.rubric, request.rater, request.subject)
        found = await self._ratings.list(
            workspace,
            rubric=request.rubric,
            rater=request.rater,
            subject=request.subject,
            before=page.before,
            limit=page.limit,
        )
        shown, token = page.cut(found, lambda kept: kept.rating_id)
        return calibration_pb2.ListRatingsResponse(
            ratings=[message_of(kept.rating, judging_pb2.Rating) for kept in shown], next_page_token=token
        )

    async def Calibrate(
        self, request: calibration_pb2.CalibrateRequest, context: Context
    ) -> calibration_pb2.CalibrateResponse:
        principal = calls.principal()
        # Before the gate, so that nobody is asked about a run that there is not.
        judged = await self._judgements.judged(principal.workspace, RunId(request.run_id), request.criterion)

        async def calibrated(turn: Turn) -> str:
            calibration_id = new_id("cal")
            await self._calibrations.calibrate(
                principal,
                judged.judge,
                judged.identity,
                run_id=request.run_id,
                criterion=judged.criterion,
                levels=judged.levels,
                dimensions=judged.dimensions,
                verdicts=judged.verdicts,
                calibration_id=calibration_id,
                also=turn.record(calibration_id),
            )
            return calibration_id

        calibration_id = await self._changing.once(_CALIBRATE, request, calibrated, _same)
        kept = await self._calibrations.kept(principal.workspace)
        made = next(each for each in kept if each.calibration.calibration_id == calibration_id)
        return calibration_pb2.CalibrateResponse(calibration=_message(made.calibration, stand(kept, made.identity)))

    async def ListCalibrations(
        self, request: calibration_pb2.ListCalibrationsRequest, context: Context
    ) -> calibration_pb2.ListCalibrationsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "calibrations", workspace, request.rubric, request.model)
        kept = await self._calibrations.kept(workspace)
        left = [
            each
            for each in kept
            if (page.before is None or each.calibration.calibration_id < page.before)
            and request.rubric in {"", each.identity.rubric}
            and request.model in {"", *each.identity.models}
        ]
        shown, token = page.cut(left[: page.limit], lambda each: each.calibration.calibration_id)
        messages = [_message(each.calibration, await self._now(workspace, kept, each)) for each in shown]
        return calibration_pb2.ListCalibrationsResponse(calibrations=messages, next_page_token=token)

    async def _now(self, workspace: Workspace, kept: Sequence[KeptCalibration], one: KeptCalibration) -> Standing:
        """Return where the judge of a calibration stands with the newest version of its rubric and today's prompt."""
        try:
            judge = replace(one.calibration.judge, rubric=one.identity.rubric)
            return stand(kept, await self._judgements.identity(workspace, judge))
        except NotFound:  # a built-in rubric of an older server
            return stand(kept, one.identity)

    async def CheckJudge(
        self, request: calibration_pb2.CheckJudgeRequest, context: Context
    ) -> calibration_pb2.CheckJudgeResponse:
        workspace = calls.principal().workspace
        identity = await self._judgements.identity(workspace, value_of(request.judge, Judge))
        standing = await self._calibrations.standing(workspace, identity, min_kappa=request.min_kappa or MIN_KAPPA)
        shown = None if standing.calibration is None else _message(standing.calibration, standing)
        answer = message_of(Standing(state=standing.state, reason=standing.reason), calibration_pb2.CheckJudgeResponse)
        if shown is not None:
            answer.calibration.CopyFrom(shown)
        return answer


def _message(calibration: Calibration, standing: Standing) -> calibration_pb2.Calibration:
    return message_of(replace(calibration, state=standing.state, reason=standing.reason), calibration_pb2.Calibration)


def _given(request: calibration_pb2.PutRatingsRequest) -> tuple[Sequence[Given], Sequence[Wrong]]:
    """Return the request's ratings with its defaults filled in, and the lines of its CSV that cannot be read."""
    given = [
        Given(
            rating=value_of(each, Rating, subject=each.subject, rubric=each.rubric, rater=each.rater),
            path=f"ratings[{place}]",
        )
        for place, each in enumerate(request.ratings)
    ]
    of_sheet, wrong = sheet.read(request.csv) if request.csv else ([], [])
    whole = [
        replace(
            each,
            rating=replace(
                each.rating, rubric=each.rating.rubric or request.rubric, rater=each.rating.rater or request.rater
            ),
        )
        for each in (*given, *of_sheet)
    ]
    return whole, wrong


async def _same(calibration_id: str) -> str:
    return calibration_id
