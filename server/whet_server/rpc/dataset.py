"""DatasetService: unpack, call, pack. An upload is a header and pieces: the header is judged before a piece is read."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from whet.v1 import dataset_pb2, dataset_pb2_grpc
from whet_server.dataset.datasets import Datasets
from whet_server.dataset.reading import MAX_BYTES
from whet_server.dataset.spec import DataFormat, Dataset, Header, Split, SplitPolicy
from whet_server.errors import InvalidField, MalformedMessage, TooLarge
from whet_server.rpc import calls
from whet_server.rpc.changing import Changing
from whet_server.rpc.convert.mirror import message_of, value_of
from whet_server.rpc.gate import Gate
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests, Turn
from whet_server.rpc.rules import Rules
from whet_server.values import Role

_PUT: Final = "whet.v1.DatasetService/PutDataset"
_SPLIT: Final = "whet.v1.DatasetService/SplitDataset"
_TAG: Final = "whet.v1.DatasetService/TagDataset"
_OPEN: Final = "whet.v1.DatasetService/OpenSeal"
MAX_PIECE: Final = 1024 * 1024
"""As the contract says."""
_SPLITS: Final = {
    dataset_pb2.SPLIT_TRAIN: Split.TRAIN,
    dataset_pb2.SPLIT_DEV: Split.DEV,
    dataset_pb2.SPLIT_HOLDOUT: Split.HOLDOUT,
}
_FORMATS: Final = {
    dataset_pb2.DATA_FORMAT_UNSPECIFIED: DataFormat.JSONL,
    dataset_pb2.DATA_FORMAT_JSONL: DataFormat.JSONL,
    dataset_pb2.DATA_FORMAT_CSV: DataFormat.CSV,
    dataset_pb2.DATA_FORMAT_PARQUET: DataFormat.PARQUET,
}
Pieces = AsyncIterator[dataset_pb2.PutDatasetRequest]


class DatasetServicer(dataset_pb2_grpc.DatasetServiceServicer):
    """The data sets of the workspace that calls."""

    def __init__(self, datasets: Datasets, requests: Requests, gate: Gate, life: Life, rules: Rules) -> None:
        self._datasets = datasets
        self._requests = requests
        self._gate = gate
        self._changing = Changing(requests, gate)
        self._life = life
        self._rules = rules

    async def PutDataset(self, pieces: Pieces, context: Context) -> dataset_pb2.PutDatasetResponse:
        pieces = aiter(pieces)
        header = await self._header(pieces)
        if header.sha256 and (earlier := await self._decided(header)) is not None:
            return earlier
        data = await _content(pieces, header)
        # To the reader a stream that breaks looks like one that ends. Only the ended one can still be answered: on the
        # other this raises, and nothing is stored.
        await context.send_initial_metadata(())
        # From here on the digest is part of the payload: the same id with another file is another call.
        header.sha256 = hashlib.sha256(data).hexdigest()
        return await self._requests.whole(self._put(header, data))

    async def _header(self, pieces: Pieces) -> dataset_pb2.PutDatasetHeader:
        first = await anext(pieces, None)
        if first is None or not first.HasField("header"):
            raise MalformedMessage("The first message of an upload must be its header.")
        self._rules.check(first.header)
        if calls.principal().role is Role.AGENT and not first.header.sha256:
            raise InvalidField(("sha256", "An agent's upload must give it: it is what a person approves."))
        return first.header

    async def _decided(self, header: dataset_pb2.PutDatasetHeader) -> dataset_pb2.PutDatasetResponse | None:
        """Pass the gate before a piece is read; return the answer if this request id had its effect already."""
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, _PUT, header.request_id, header) as turn:
            if turn.answer is not None:
                return dataset_pb2.PutDatasetResponse(dataset=_message(await self._answered(turn.answer)))
            self._life.admit()
            await self._gate.changes(principal, _PUT, header, request_id=turn.request_id)
        return None

    async def _put(self, header: dataset_pb2.PutDatasetHeader, data: bytes) -> dataset_pb2.PutDatasetResponse:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, _PUT, header.request_id, header) as turn:
            if turn.answer is not None:
                return dataset_pb2.PutDatasetResponse(dataset=_message(await self._answered(turn.answer)))
            self._life.admit()
            dataset, created = await self._datasets.put(
                principal, value_of(header, Header), data, request_id=turn.request_id, record=turn.record
            )
        return dataset_pb2.PutDatasetResponse(dataset=_message(dataset), created=created)

    async def GetDataset(
        self, request: dataset_pb2.GetDatasetRequest, context: Context
    ) -> dataset_pb2.GetDatasetResponse:
        found = await self._datasets.get(calls.principal().workspace, request.name, request.version)
        return dataset_pb2.GetDatasetResponse(dataset=_message(found))

    async def ListDatasets(
        self, request: dataset_pb2.ListDatasetsRequest, context: Context
    ) -> dataset_pb2.ListDatasetsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "datasets", workspace, request.name, request.tag)
        if request.name:
            before = int(page.before) if page.before else None
            found = await self._datasets.versions(
                workspace, request.name, tag=request.tag, before=before, limit=page.limit
            )
            shown, token = page.cut(found, lambda dataset: str(dataset.version))
        else:
            found = await self._datasets.list(workspace, tag=request.tag, after=page.before, limit=page.limit)
            shown, token = page.cut(found, lambda dataset: dataset.name)
        return dataset_pb2.ListDatasetsResponse(datasets=[_message(each) for each in shown], next_page_token=token)

    async def ListRows(self, request: dataset_pb2.ListRowsRequest, context: Context) -> dataset_pb2.ListRowsResponse:
        workspace = calls.principal().workspace
        dataset = await self._datasets.get(workspace, request.name, request.version)
        page = page_of(request.page, "rows", workspace, dataset.name, dataset.version, request.split)
        given = await self._datasets.rows(
            workspace,
            dataset.name,
            dataset.version,
            split=_SPLITS.get(request.split),
            after=int(page.before or 0),
            limit=page.limit,
        )
        shown, token = page.cut(given.rows, lambda row: str(row.number))
        return dataset_pb2.ListRowsResponse(
            rows=[message_of(row, dataset_pb2.Row) for row in shown],
            next_page_token=token,
            sealed_rows=given.sealed_rows,
            version=dataset.version,
        )

    async def ExportDataset(
        self, request: dataset_pb2.ExportDatasetRequest, context: Context
    ) -> AsyncGenerator[dataset_pb2.ExportDatasetResponse, None]:
        given, file = await self._datasets.export(
            calls.principal().workspace,
            request.name,
            request.version,
            _FORMATS[request.format],
            _SPLITS.get(request.split),
        )
        yield dataset_pb2.ExportDatasetResponse(dataset=_message(given.dataset), sealed_rows=given.sealed_rows)
        async for piece in file:
            yield dataset_pb2.ExportDatasetResponse(chunk=piece)

    async def SplitDataset(
        self, request: dataset_pb2.SplitDatasetRequest, context: Context
    ) -> dataset_pb2.SplitDatasetResponse:
        principal = calls.principal()

        async def split(turn: Turn) -> Dataset:
            self._life.admit()
            policy = value_of(request.policy, SplitPolicy)
            return await self._datasets.split(
                principal, request.name, request.version, policy, request_id=turn.request_id, record=turn.record
            )

        dataset = await self._changing.once(_SPLIT, request, split, self._answered)
        return dataset_pb2.SplitDatasetResponse(dataset=_message(dataset))

    async def TagDataset(
        self, request: dataset_pb2.TagDatasetRequest, context: Context
    ) -> dataset_pb2.TagDatasetResponse:
        workspace = calls.principal().workspace

        async def tag(turn: Turn) -> Dataset:
            return await self._datasets.tag(
                workspace, request.name, request.version, add=request.add, remove=request.remove, record=turn.record
            )

        dataset = await self._changing.once(_TAG, request, tag, self._answered)
        return dataset_pb2.TagDatasetResponse(dataset=_message(dataset))

    async def OpenSeal(self, request: dataset_pb2.OpenSealRequest, context: Context) -> dataset_pb2.OpenSealResponse:
        principal = calls.principal()

        async def opened(turn: Turn) -> Dataset:
            return await self._datasets.open_seal(
                principal, request.name, request.version, request.reason, request_id=turn.request_id, record=turn.record
            )

        dataset = await self._changing.once(_OPEN, request, opened, self._answered)
        return dataset_pb2.OpenSealResponse(dataset=_message(dataset))

    async def _answered(self, answer: str) -> Dataset:
        name, _, version = answer.rpartition("@")
        return await self._datasets.get(calls.principal().workspace, name, int(version))


async def _content(pieces: Pieces, header: dataset_pb2.PutDatasetHeader) -> bytes:
    """Read the file. Raises `TooLarge`, `MalformedMessage` or `InvalidField` when its digest is another."""
    read: list[bytes] = []
    size = 0
    async for piece in pieces:
        if not piece.HasField("chunk"):
            what = "a second header" if piece.HasField("header") else "an empty message"
            raise MalformedMessage(f"After its header an upload has pieces of the file; {what} came.")
        if len(piece.chunk) > MAX_PIECE:
            raise TooLarge(f"A piece has {len(piece.chunk)} bytes; at most {MAX_PIECE} are accepted.")
        read.append(piece.chunk)
        size += len(piece.chunk)
        if size > MAX_BYTES:
            raise TooLarge(
                f"The file has more than {MAX_BYTES} bytes. Store a part of it, or several data sets.",
                metadata={"limit_bytes": str(MAX_BYTES)},
            )
    data = b"".join(read)
    if header.sha256 and hashlib.sha256(data).hexdigest() != header.sha256:
        raise InvalidField(("sha256", f"The {size} bytes that came have another digest. Nothing was stored."))
    return data


def _message(dataset: Dataset) -> dataset_pb2.Dataset:
    return message_of(dataset, dataset_pb2.Dataset)
