"""How near the meanings of two texts are: the cosine of their embeddings, by the embedded model or by an endpoint.

Texts that come at the same time travel in one request. It is a call like any other: its worst case is reserved, `llm`
alone retries, what the endpoint reports is settled. Vectors are remembered by their text's digest.
"""

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import mul
from typing import TYPE_CHECKING, Final

from whet_server.errors import InvalidField, Reason
from whet_server.judging import Item
from whet_server.llm.base import Caller, CallResult, CallSpec, EndpointKind, Unheard
from whet_server.llm.embeddings import Vector, vectors_in
from whet_server.llm.registry import Endpoints
from whet_server.log.lifecycle import BranchState
from whet_server.score.finding import DoesNotApply, Finding, at_most, candidate_of, reference_of
from whet_server.score.length import package_folder
from whet_server.values import (
    CallId,
    Failure,
    Forecast,
    Message,
    ModelName,
    Nanos,
    Parameters,
    RunId,
    Speaker,
    Totals,
    Value,
    Workspace,
    new_id,
)

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference

MAX_CHARACTERS: Final = 50_000
"""Of a text for the embedded model: its words take a kilobyte each while they are averaged."""
MAX_TEXTS: Final = 32
"""In one request; every endpoint takes as many."""
MAX_BATCH: Final = 100_000
"""Characters in one request, unless a single text has more."""
MAX_KEPT: Final = 2_048
"""Vectors that are remembered: some 25 MB of the longest there are."""


class Embedded(Value):
    """What came of a request for vectors. Exactly one of `vectors` and `failure` says something."""

    vectors: tuple[Vector, ...] = ()
    failure: Failure | None = None
    totals: Totals = Totals()
    simulated: bool = False


def texts_of(item: Item) -> tuple[str, str]:
    """Return candidate and reference. Raises `DoesNotApply` where there is nothing to embed."""
    candidate, reference = candidate_of(item), reference_of(item)
    if not candidate.strip() or not reference.strip():
        raise DoesNotApply("An empty text has no meaning to compare.")
    return candidate, reference


def local_cosine(item: Item) -> Finding:
    """Score by the embedded model."""
    texts = texts_of(item)
    at_most(MAX_CHARACTERS, "characters", *map(len, texts))
    # One at a time: in a batch the shorter text would be padded to the longer one.
    return cosine(*(tuple(map(float, _model().embed(text)[0])) for text in texts))


def cosine(ours: Sequence[float], theirs: Sequence[float]) -> Finding:
    """Return the cosine of two vectors; less than 0 scores 0."""
    length = math.hypot(*ours) * math.hypot(*theirs)
    if not length:
        raise DoesNotApply("The model knows no word of one of the texts.")
    value = min(max(sum(map(mul, ours, theirs)) / length, -1.0), 1.0)
    return Finding(score=max(value, 0.0), value=value)


@lru_cache(maxsize=1)
def _model() -> "WordLlamaInference":
    from wordllama import WordLlama  # loaded when somebody asks for it

    return WordLlama.load(cache_dir=package_folder(), disable_download=True)


class RunCaps(Value):
    """What a run may use at most, as in `CallSpec`."""

    money: Nanos | None = None
    tokens: int = 0


class _Batch:
    """Texts that travel together, and who waits for their vectors."""

    def __init__(self, caps: RunCaps) -> None:
        self.caps = caps
        self.waiting: dict[str, asyncio.Future[Vector | Failure]] = {}
        self.characters = 0
        self.totals = Totals()
        self.simulated = False

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= MAX_TEXTS or self.characters >= MAX_BATCH

    def add(self, text: str) -> "asyncio.Future[Vector | Failure]":
        self.characters += len(text)
        future = self.waiting[text] = asyncio.get_running_loop().create_future()
        return future

    def claim(self) -> Totals:
        """Return the money of this request to the first who asks, so that sums count it once."""
        claimed, self.totals = self.totals, Totals()
        return claimed


class Embeddings:
    """Vectors from endpoints. `close` it when the server stops."""

    def __init__(self, caller: Caller, endpoints: Endpoints) -> None:
        self._caller = caller
        self._endpoints = endpoints
        self._known: OrderedDict[bytes, Vector] = OrderedDict()
        self._coming: dict[tuple[Workspace, RunId, ModelName, str], asyncio.Future[Vector | Failure]] = {}
        self._gathering: dict[tuple[Workspace, RunId, ModelName], _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    def check(self, workspace: Workspace, model: ModelName, path: str) -> None:
        """Raise `EndpointNotFound`, or `InvalidField` when the endpoint has no embeddings."""
        endpoint, slash, rest = model.partition("/")
        if not slash or not rest:
            raise InvalidField((path, "Give endpoint/model, such as openai/text-embedding-3-small."))
        if self._endpoints.get(workspace, endpoint).settings.kind is not EndpointKind.OPENAI:
            raise InvalidField((path, f"{endpoint} has no embeddings. Leave the model out to use the embedded one."))

    async def forecast(self, workspace: Workspace, texts: Sequence[tuple[ModelName, str]]) -> Forecast:
        """Return what it would cost at most to embed the texts, each by its model. Raises `NotFound`."""
        by_model: dict[ModelName, list[str]] = {}
        for model, text in dict.fromkeys(texts):
            by_model.setdefault(model, []).append(text)
        expected, worst, unpriced, unbounded = 0, 0, [], False
        for model, each in by_model.items():
            estimate = await self._caller.estimate(_spec(workspace, RunId("estimate"), model, each, RunCaps()))
            expected += estimate.expected or 0
            worst += estimate.worst or 0
            if estimate.worst is None:
                unpriced.append(model)
                unbounded |= not estimate.info.nearby
        return Forecast(
            plan_hash="",
            calls=sum(-(-len(each) // MAX_TEXTS) for each in by_model.values()),
            cache_hits=0,
            expected=Nanos(expected),
            worst=Nanos(worst),
            unpriced=tuple(unpriced),
            unbounded=unbounded,
        )

    async def of(
        self, workspace: Workspace, run_id: RunId, model: ModelName, texts: Sequence[str], caps: RunCaps
    ) -> Embedded:
        """Return the vectors of the texts, or why there are none."""
        batches: list[_Batch] = []
        waiting = []
        for text in texts:
            if (found := self._known.get(_key(workspace, model, text))) is not None:
                waiting.append(_done(found))
                continue
            coming = self._coming.get((workspace, run_id, model, text))
            if coming is None:
                batch = self._batch(workspace, run_id, model, caps)
                batches.append(batch)
                coming = self._coming[workspace, run_id, model, text] = batch.add(text)
            waiting.append(coming)
        # Others may wait for the same vector, so who leaves must not take it away from them.
        vectors = [await asyncio.shield(each) for each in waiting]
        told = next((each for each in vectors if isinstance(each, Failure)), None)
        return Embedded(
            vectors=() if told else tuple(each for each in vectors if not isinstance(each, Failure)),
            failure=told,
            totals=sum((batch.claim() for batch in batches), Totals()),
            simulated=any(batch.simulated for batch in batches),
        )

    async def close(self) -> None:
        """Cut off the requests under way."""
        self._stop.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _batch(self, workspace: Workspace, run_id: RunId, model: ModelName, caps: RunCaps) -> _Batch:
        """Return the batch that is being gathered. It leaves when it is full, or when the loop comes round."""
        key = (workspace, run_id, model)
        batch = self._gathering.get(key)
        if batch is None or batch.is_full:
            batch = self._gathering[key] = _Batch(caps)
            asyncio.get_running_loop().call_soon(self._leave, key, batch)
        return batch

    def _leave(self, key: tuple[Workspace, RunId, ModelName], batch: _Batch) -> None:
        if self._gathering.get(key) is batch:
            del self._gathering[key]
        task = asyncio.create_task(self._send(key, batch), name="embeddings")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, key: tuple[Workspace, RunId, ModelName], batch: _Batch) -> None:
        texts = list(batch.waiting)
        try:
            await self._fill(key, batch, texts)
        finally:
            for text, waiting in batch.waiting.items():
                del self._coming[*key, text]
                if not waiting.done():
                    waiting.set_result(_NOTHING)

    async def _fill(self, key: tuple[Workspace, RunId, ModelName], batch: _Batch, texts: Sequence[str]) -> None:
        result = await self._ask(key, batch, texts)
        if result.failure is not None and result.failure.reason == Reason.REQUEST_REFUSED and len(texts) > 1:
            # One text that the model does not take, say a long one, must not cost the others their vectors.
            for text in texts:
                self._hand_out(key, batch, [text], await self._ask(key, batch, [text]))
        else:
            self._hand_out(key, batch, texts, result)

    async def _ask(self, key: tuple[Workspace, RunId, ModelName], batch: _Batch, texts: Sequence[str]) -> CallResult:
        result = await self._caller.call(_spec(*key, texts, batch.caps), Unheard(), self._stop)
        batch.totals += result.totals
        batch.simulated |= result.simulated
        return result

    def _hand_out(
        self, key: tuple[Workspace, RunId, ModelName], batch: _Batch, texts: Sequence[str], result: CallResult
    ) -> None:
        workspace, _, model = key
        found: Iterable[Vector | Failure]
        if result.state is BranchState.DONE:
            vectors = vectors_in(result.text)
            for text, vector in zip(texts, vectors, strict=True):
                self._known[_key(workspace, model, text)] = vector
            while len(self._known) > MAX_KEPT:
                self._known.popitem(last=False)
            found = vectors
        else:
            found = [result.failure or _NOTHING] * len(texts)
        for text, each in zip(texts, found, strict=True):
            if not batch.waiting[text].done():
                batch.waiting[text].set_result(each)


_NOTHING: Final = Failure(reason=Reason.EMPTY_ANSWER.value, message="The endpoint gave no vectors.")


def _spec(workspace: Workspace, run_id: RunId, model: ModelName, texts: Sequence[str], caps: RunCaps) -> CallSpec:
    return CallSpec(
        workspace=workspace,
        run_id=run_id,
        call_id=CallId(f"{run_id}/{new_id('emb')}"),
        models=(model,),
        messages=tuple(Message(role=Speaker.USER, content=text) for text in texts),
        parameters=Parameters(max_tokens=0),
        embeds=True,
        run_cap=caps.money,
        run_token_cap=caps.tokens,
    )


def _key(workspace: Workspace, model: ModelName, text: str) -> bytes:
    return hashlib.sha256(f"{workspace}\0{model}\0{text}".encode()).digest()


def _done(vector: Vector) -> "asyncio.Future[Vector | Failure]":
    future: asyncio.Future[Vector | Failure] = asyncio.get_running_loop().create_future()
    future.set_result(vector)
    return future
