"""Read what a proposed sweep stands on: the data set's splits, columns and answers, the models and their prices."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from whet.v1 import dataset_pb2, model_pb2, sweep_pb2
from whet_agent.calls import Backend
from whet_agent.catalogue import method_named
from whet_agent.plain import short_enum_name
from whet_agent.proposing import INPUTS, REFERENCES, Facts, KnownModel

ROWS: Final = 300
"""Rows that are looked at for labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Looks at the server with the agent's own client, as a tool would; nothing is changed or paid."""

    backend: Backend

    async def facts(self, dataset: str, version: int) -> Facts:
        """Return what is known of a data set and of the models. Raises `CallError` when there is no such data set."""
        request = dataset_pb2.GetDatasetRequest(name=dataset, version=version)
        answer = await self.backend.call(method_named("DatasetService", "GetDataset"), request)
        found = cast("dataset_pb2.GetDatasetResponse", answer).dataset
        columns = [column.name for column in found.columns]
        reference = next((name for name in REFERENCES if name in columns), "")
        return Facts(
            version=found.version,
            splits={short_enum_name(dataset_pb2.Split.DESCRIPTOR, each.split): each.rows for each in found.splits},
            sealed=found.sealed and not found.HasField("open_time"),
            columns=columns,
            input=next((name for name in INPUTS if name in columns), ""),
            reference=reference,
            references=await self._references(found, reference) if reference else (),
            models=await self._models(),
            read=True,
        )

    async def datasets(self) -> Sequence[str]:
        """Return the names of the data sets. Raises `CallError`."""
        request = dataset_pb2.ListDatasetsRequest()
        answer = await self.backend.call(method_named("DatasetService", "ListDatasets"), request)
        return [each.name for each in cast("dataset_pb2.ListDatasetsResponse", answer).datasets]

    async def money_of(self, run_id: str) -> int | None:
        """Return what a sweep may spend in all, in nanos; None when it has no such cap. Raises `CallError`."""
        request = sweep_pb2.GetSweepRequest(run_id=run_id)
        answer = await self.backend.call(method_named("SweepService", "GetSweep"), request)
        budget = cast("sweep_pb2.GetSweepResponse", answer).sweep.plan.budget
        return budget.money.nanos if budget.HasField("money") else None

    async def _references(self, dataset: dataset_pb2.Dataset, column: str) -> Sequence[str]:
        request = dataset_pb2.ListRowsRequest(name=dataset.name, version=dataset.version)
        request.page.size = ROWS
        answer = await self.backend.call(method_named("DatasetService", "ListRows"), request)
        rows = [json.loads(row.json) for row in cast("dataset_pb2.ListRowsResponse", answer).rows]
        return [str(row[column]).strip() for row in rows if row.get(column) not in {None, ""}]

    async def _models(self) -> Sequence[KnownModel]:
        answer = await self.backend.call(method_named("ModelService", "ListModels"), model_pb2.ListModelsRequest())
        models = cast("model_pb2.ListModelsResponse", answer).models
        return sorted(map(_known, models), key=lambda model: not model.in_panel)


def _known(model: model_pb2.Model) -> KnownModel:
    price = model.price.input_nanos_per_million + model.price.output_nanos_per_million
    return KnownModel(
        name=model.name,
        price=price if model.HasField("price") else None,
        simulated=model.simulated,
        in_panel=model.in_panel,
    )
