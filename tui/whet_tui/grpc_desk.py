"""The desk over gRPC, with the person's token."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final

from whet.v1 import (
    calibration_pb2,
    dataset_pb2,
    event_pb2,
    fanout_pb2,
    ledger_pb2,
    model_pb2,
    trace_pb2,
    value_pb2,
)
from whet_agent.client import Client
from whet_agent.connect import Connection, ServerUnavailable, connect, find
from whet_tui.asking_server import Asker
from whet_tui.calibration_values import Audit, AuditRun, Calibration
from whet_tui.dataset_values import Dataset, RowPage, Split
from whet_tui.desk_values import Cap, Endpoint, Following, Grouping, Model, Probe, Run, Spending, UsageLine
from whet_tui.entries import FanoutState, Money
from whet_tui.grpc_judging import GrpcJudging
from whet_tui.grpc_sweeps import GrpcSweeps
from whet_tui.lanes import RUN_STATES, hear, money_of, nanos_of, time_of
from whet_tui.reading_wire import read

_RUNS: Final = 200
"""Runs, data sets or calibrations that a list shows: more than anybody scrolls through."""
_CALIBRATE_SECONDS: Final = 60.0
"""Intervals over thousands of ratings take their time."""
_ROWS: Final = 100
"""Rows of a data set on a page."""
_CANCEL_SECONDS: Final = 60.0
"""A cancelled call is billed and reported before the answer comes."""
_TEST_SECONDS: Final = 60.0
"""An endpoint may be slow, and how slow is what the test is to say."""
_AGAIN_SECONDS: Final = 0.2
"""Before a stream that was cut is attached again."""

_GROUPS: Final[Mapping[Grouping, ledger_pb2.UsageGroup.ValueType]] = {
    "model": ledger_pb2.USAGE_GROUP_MODEL,
    "run": ledger_pb2.USAGE_GROUP_RUN,
    "day": ledger_pb2.USAGE_GROUP_DAY,
}


class GrpcDesk:
    """Asks the server behind a connection."""

    def __init__(self, connection: Connection) -> None:
        self._settings = connection.settings
        self._client = Client(connection.address, connection.person_token, restore=self._restore)
        self._asker = Asker(self._client)
        self._ask = self._asker.ask
        self.judging = GrpcJudging(self._asker)
        self.sweeping = GrpcSweeps(self._asker)

    async def runs(self) -> Sequence[Run]:
        request = fanout_pb2.ListFanoutsRequest(page=value_pb2.Page(size=_RUNS))
        answer = await self._ask("ListFanouts", request, fanout_pb2.ListFanoutsResponse)
        return [_run(fanout) for fanout in answer.fanouts]

    async def follow(self, following: Following) -> AsyncGenerator[None, None]:
        while not following.fanout.ended:
            async with aclosing(self._batches(following)) as batches:
                async for batch in batches:
                    for event in batch.events:
                        hear(following.fanout, event)
                    following.cursor = batch.next_cursor
                    yield
            if not following.fanout.ended:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def cancel(self, run_id: str, branch_id: str = "") -> None:
        request = fanout_pb2.CancelFanoutRequest(run_id=run_id, branch_ids=[branch_id] if branch_id else [])
        await self._ask("CancelFanout", request, fanout_pb2.CancelFanoutResponse, timeout=_CANCEL_SECONDS)

    async def endpoints(self) -> Sequence[Endpoint]:
        endpoints, models = await asyncio.gather(
            self._ask("ListEndpoints", model_pb2.ListEndpointsRequest(), model_pb2.ListEndpointsResponse),
            self._ask("ListModels", model_pb2.ListModelsRequest(), model_pb2.ListModelsResponse),
        )
        of_endpoint = defaultdict(list)
        for model in models.models:
            of_endpoint[model.name.partition("/")[0]].append(_model(model))
        return [_endpoint(endpoint, of_endpoint[endpoint.name]) for endpoint in endpoints.endpoints]

    async def test(self, endpoint: str) -> Probe:
        request = model_pb2.TestEndpointRequest(name=endpoint)
        answer = await self._ask("TestEndpoint", request, model_pb2.TestEndpointResponse, timeout=_TEST_SECONDS)
        return Probe(
            ok=answer.ok,
            latency_ns=nanos_of(answer.latency),
            failure=answer.failure.message,
            models=len(answer.models),
        )

    async def spending(self, grouping: Grouping) -> Spending:
        caps, usage, days, fanouts = await asyncio.gather(
            self._ask("ListCaps", ledger_pb2.ListCapsRequest(), ledger_pb2.ListCapsResponse),
            self._usage(grouping),
            self._usage("day"),
            self._ask("ListFanouts", fanout_pb2.ListFanoutsRequest(), fanout_pb2.ListFanoutsResponse),
        )
        # The ledger's sums leave calls without a price out; the runs tell how many they were.
        runs = {fanout.run_id: fanout for fanout in fanouts.fanouts}
        lines = [_usage_line(line.key, line.totals) for line in usage.lines]
        if grouping == "run":
            lines = [_of_run(line, runs[line.key]) if line.key in runs else line for line in lines]
        total = _usage_line("", usage.totals)
        total.money.unpriced = sum(fanout.totals.unpriced for fanout in runs.values())
        return Spending(
            caps=tuple(_cap(cap) for cap in caps.caps),
            approval_threshold=caps.approval_threshold.nanos,
            total=total,
            lines=tuple(lines),
            days=tuple(_usage_line(line.key, line.totals) for line in reversed(days.lines)),
        )

    async def datasets(self, name: str = "") -> Sequence[Dataset]:
        request = dataset_pb2.ListDatasetsRequest(name=name, page=value_pb2.Page(size=_RUNS))
        answer = await self._ask("ListDatasets", request, dataset_pb2.ListDatasetsResponse)
        return [read(each, Dataset) for each in answer.datasets]

    async def rows(self, name: str, version: int, *, split: Split | None = None, token: str = "") -> RowPage:
        request = dataset_pb2.ListRowsRequest(name=name, version=version, page=value_pb2.Page(size=_ROWS, token=token))
        if split:
            request.split = dataset_pb2.Split.Value(f"SPLIT_{split.upper()}")
        return read(await self._ask("ListRows", request, dataset_pb2.ListRowsResponse), RowPage)

    async def open_seal(self, name: str, version: int, reason: str) -> Dataset:
        request = dataset_pb2.OpenSealRequest(name=name, version=version, reason=reason)
        return read((await self._ask("OpenSeal", request, dataset_pb2.OpenSealResponse)).dataset, Dataset)

    async def calibrations(self) -> Sequence[Calibration]:
        request = calibration_pb2.ListCalibrationsRequest(page=value_pb2.Page(size=_RUNS))
        answer = await self._ask("ListCalibrations", request, calibration_pb2.ListCalibrationsResponse)
        return [read(each, Calibration) for each in answer.calibrations]

    async def calibrate(self, run_id: str, criterion: str, request_id: str) -> Calibration:
        request = calibration_pb2.CalibrateRequest(request_id=request_id, run_id=run_id, criterion=criterion)
        answer = await self._ask("Calibrate", request, calibration_pb2.CalibrateResponse, timeout=_CALIBRATE_SECONDS)
        return read(answer.calibration, Calibration)

    async def audits(self) -> Sequence[AuditRun]:
        request = trace_pb2.ListTracesRequest(kind=event_pb2.RUN_KIND_AUDIT, page=value_pb2.Page(size=_RUNS))
        answer = await self._ask("ListTraces", request, trace_pb2.ListTracesResponse)
        return [read(trace, AuditRun) for trace in answer.traces]

    async def audit(self, run_id: str) -> Audit:
        request = calibration_pb2.GetAuditRequest(run_id=run_id)
        return read(await self._ask("GetAudit", request, calibration_pb2.GetAuditResponse), Audit)

    async def close(self) -> None:
        await self._client.close()

    async def _usage(self, grouping: Grouping) -> ledger_pb2.GetUsageResponse:
        request = ledger_pb2.GetUsageRequest(group=_GROUPS[grouping])
        return await self._ask("GetUsage", request, ledger_pb2.GetUsageResponse)

    async def _batches(self, following: Following) -> AsyncGenerator[event_pb2.EventBatch, None]:
        request = fanout_pb2.WatchFanoutRequest(run_id=following.run_id, cursor=following.cursor)
        async with aclosing(self._asker.stream("WatchFanout", request, fanout_pb2.WatchFanoutResponse)) as messages:
            async for message in messages:
                yield message.batch

    async def _restore(self) -> str:
        """Where the server answers now; empty when it does not. One that was stopped took its `server.json` away and
        stays stopped; one that left it behind has died and is started again.
        """
        settings = self._settings
        if settings is None:
            return ""
        found = await find(settings)
        if found is None and (settings.data / "server.json").exists():
            with suppress(ServerUnavailable):  # the call that needed it says that nobody answers
                found = await connect(settings)
        return found.address if found is not None else ""


def _run(fanout: fanout_pb2.Fanout) -> Run:
    return Run(
        run_id=fanout.run_id,
        title=fanout.title,
        state=RUN_STATES.get(fanout.state, FanoutState.RUNNING),
        created_ns=time_of(fanout.create_time),
        ended_ns=time_of(fanout.end_time),
        money=money_of(fanout.totals),
    )


def _model(model: model_pb2.Model) -> Model:
    priced = model.HasField("price")
    return Model(
        name=model.name,
        input_price=model.price.input_nanos_per_million if priced else None,
        output_price=model.price.output_nanos_per_million if priced else None,
        price_source=model.price.source,
        simulated=model.simulated,
        in_panel=model.in_panel,
        description=model.description,
    )


def _endpoint(endpoint: model_pb2.Endpoint, models: Sequence[Model]) -> Endpoint:
    return Endpoint(
        name=endpoint.name,
        kind=model_pb2.EndpointKind.Name(endpoint.kind).removeprefix("ENDPOINT_KIND_").lower(),
        url=endpoint.base_url,
        has_key=endpoint.has_key,
        source=endpoint.source,
        circuit=model_pb2.CircuitState.Name(endpoint.circuit).removeprefix("CIRCUIT_STATE_").lower().replace("_", " "),
        requests_per_minute=endpoint.limits.requests_per_minute,
        tokens_per_minute=endpoint.limits.tokens_per_minute,
        max_concurrency=endpoint.limits.max_concurrency,
        concurrency=endpoint.current_concurrency,
        in_flight=endpoint.in_flight,
        last_success_ns=time_of(endpoint.last_success_time),
        failure=endpoint.last_failure.message,
        models=tuple(models),
    )


def _cap(cap: ledger_pb2.Cap) -> Cap:
    money = Money(settled=cap.settled.nanos, unknown=cap.unknown.nanos, reserved=cap.reserved.nanos)
    return Cap(period=cap.cap_id, limit=cap.limit.nanos, money=money)


def _of_run(line: UsageLine, fanout: fanout_pb2.Fanout) -> UsageLine:
    money = replace(line.money, unpriced=fanout.totals.unpriced)
    return replace(line, title=fanout.title, money=money)


def _usage_line(key: str, totals: value_pb2.Totals) -> UsageLine:
    return UsageLine(
        key=key,
        money=money_of(totals),
        input_tokens=totals.usage.input_tokens,
        output_tokens=totals.usage.output_tokens,
        attempts=totals.attempts,
    )
