"""The attempts of one call: when there is one, and whether another follows.

Here and nowhere else is anything retried: only what passes by itself, only before the first token, later each time,
within the endpoint's retry budget and the call's deadline. Then the next model of the chain has its turn.
"""

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Mapping

from msgspec import structs

from whet_server.errors import CapExceeded, PriceUnknown, Reason, StorageUnavailable, WhetError, failure_of
from whet_server.ledger.ledger import Ledger
from whet_server.llm.attempt import Try
from whet_server.llm.base import CallResult, CallSpec, EndpointKind, Listener, Transport, answer_ns
from whet_server.llm.cache import Question, ResponseCache
from whet_server.llm.endpoint import Route
from whet_server.llm.registry import Endpoints
from whet_server.llm.retry import MAX_ATTEMPTS, backoff
from whet_server.llm.tab import Worst
from whet_server.llm.taxonomy import failure, refuses_schema
from whet_server.llm.turn import Turn
from whet_server.log.lifecycle import BranchState
from whet_server.values import Attempt, Billing, Failure, Nanos, Parameters, Totals, Usage, Value


class Tools(Value):
    """What every call works with."""

    endpoints: Endpoints
    ledger: Ledger
    cache: ResponseCache
    transports: Mapping[EndpointKind, Transport]
    clock: Callable[[], int]
    source: random.Random


class Work:
    """One call under way. `run` it once."""

    def __init__(self, tools: Tools, spec: CallSpec, listener: Listener) -> None:
        self._tools = tools
        self._spec = spec
        self._listener = listener
        self._now = asyncio.get_running_loop().time
        self._start = self._now()
        self._deadline = math.inf
        self._attempts: list[Attempt] = []
        self._unpriced = 0
        self._untold: Attempt | None = None
        """A failed attempt that is told once another follows."""
        self._result = CallResult(state=BranchState.FAILED, model=spec.models[0])
        self._first_token: float | None = None

    async def run(self, stop: asyncio.Event) -> CallResult:
        """Make the call until it ends or `stop` is set."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                watcher = asyncio.create_task(_cut_off(stop, scope), name="stop-watcher")
                try:
                    await self._chain()
                finally:
                    watcher.cancel()
        except TimeoutError:
            if not scope.expired():
                raise
            if self._result.state is not BranchState.DONE:
                self._cut()
        return self._finished()

    async def _chain(self) -> None:
        """Ask one model after the other until one answers or nothing more can be done."""
        for model in self._spec.models:
            try:
                route = await self._tools.endpoints.route(self._spec.workspace, model)
            except WhetError as error:
                self._fail(failure_of(error))
                continue
            self._result = structs.replace(self._result, model=model, simulated=route.info.simulated)
            if self._deadline == math.inf:
                self._deadline = self._last_moment(route)
            if await self._ask(route) or self._left() <= 0:
                return

    async def _ask(self, route: Route) -> bool:
        """Ask one model, again if that may help; return whether the call has come to its end."""
        parameters = route.parameters(self._spec.parameters)
        question = Question.of(self._spec, route, parameters)
        key = b"" if self._spec.cache_bypass else question.key()
        if key and await self._cached(route, question, key):
            return True
        worst = Worst(self._spec.messages, parameters)
        route.endpoint.budget.called()
        gate = route.endpoint.model_gate(route.model)
        for number in itertools.count(1):
            sent = structs.replace(parameters, json_schema="") if gate.plain else parameters
            if await self._try(route, sent, worst):
                break
            if sent.json_schema and self._refused_schema():
                gate.plain = True
                continue
            if not await self._again(route, number):
                return False
        if key and self._result.state is BranchState.DONE:
            self._keep(question, key)
        return True

    async def _cached(self, route: Route, question: Question, key: bytes) -> bool:
        found = await self._tools.cache.get(question.workspace, key)
        if found is None:
            return False
        self._result = structs.replace(
            self._result,
            state=BranchState.DONE,
            text=found.text,
            failure=None,
            cached=True,
            simulated=found.simulated,
            finish_reason=found.finish_reason,
            made_ns=found.latency_ns or None,
            made_cost=None if route.info.price is None else route.info.price.of(found.usage),
        )
        return True

    def _keep(self, question: Question, key: bytes) -> None:
        self._tools.cache.put(
            question,
            key,
            text=self._result.text,
            usage=self._attempts[-1].usage,
            finish_reason=self._result.finish_reason,
            simulated=self._result.simulated,
            latency_ns=answer_ns(self._attempts),
            ttl=self._spec.cache_ttl,
        )

    async def _try(self, route: Route, parameters: Parameters, worst: Worst) -> bool:
        """Make one attempt if the endpoint's circuit and limits allow it; return whether the call has ended."""
        breaker = route.endpoint.breaker
        if (left := breaker.refusal()) is not None:
            return self._refused(route, left)
        gates = (route.endpoint.gate, route.endpoint.model_gate(route.model))
        turn = Turn(gates, worst.likely_input + worst.output_tokens)
        try:
            if not await self._enter(turn):
                return False
            ticket = breaker.admit()
            if ticket is None:
                return self._refused(route, breaker.refusal() or 0.0)
            try:
                return await self._attempt(route, parameters, worst, turn, ticket)
            finally:
                breaker.abandoned(ticket)
        finally:
            turn.leave()

    async def _enter(self, turn: Turn) -> bool:
        """Wait for the limits of the endpoint and the model; False when the call's time does not reach so far."""
        wait = turn.book()
        if not wait and turn.enter_now():
            return True
        if wait >= self._left():
            told = failure(Reason.RATE_LIMITED, "This server's own limit for the endpoint is used up for this minute.")
            self._fail(structs.replace(told, retry_after_ns=int(wait * 1e9)))
            return False
        try:
            async with asyncio.timeout_at(self._deadline):
                if wait:
                    self._listener.progress(BranchState.WAITING, detail="waiting for the rate limit", wait=wait)
                    await asyncio.sleep(wait)
                await turn.enter(
                    lambda: self._listener.progress(BranchState.WAITING, detail="waiting for a free place")
                )
        except TimeoutError:
            self._fail(self._late("The call's time was over before its turn came."))
            return False
        return True

    async def _attempt(self, route: Route, parameters: Parameters, worst: Worst, turn: Turn, ticket: int) -> bool:
        if self._left() <= 0:
            self._fail(self._late("The call's time was over before it was sent."))
            return False
        await self._tell()
        tried = Try(
            self._spec,
            route,
            parameters,
            worst,
            number=len(self._attempts) + 1,
            ledger=self._tools.ledger,
            turn=turn,
            listener=self._listener,
            clock=self._tools.clock,
        )
        try:
            await tried.make(self._tools.transports, self._deadline, ticket)
        except PriceUnknown as error:
            self._fail(failure_of(error))
            return False
        except (CapExceeded, StorageUnavailable) as error:
            self._fail(failure_of(error))
            return True
        finally:
            self._note(tried, priced=route.info.price is not None)
        return self._result.state is not BranchState.FAILED

    def _note(self, tried: Try, *, priced: bool) -> None:
        """Put an attempt on the record and take over what came of it."""
        if tried.record is None:
            return
        self._attempts.append(tried.record)
        self._unpriced += not priced and tried.record.billing is not Billing.NONE
        text = tried.ear.heard
        if tried.ear.first_token is not None:
            self._first_token = tried.ear.first_token
        told = tried.failure
        if told is None and tried.answer is not None:
            self._result = structs.replace(
                self._result,
                state=BranchState.DONE,
                text=text,
                failure=None,
                finish_reason=tried.answer.finish_reason,
            )
            return
        if told is not None and told.reason == Reason.TOTAL_TIMEOUT:
            told = self._late(told.message)
        state = BranchState.PARTIAL if text else BranchState.FAILED
        self._result = structs.replace(self._result, state=state, text=text, failure=told)
        self._untold = tried.record

    def _refused_schema(self) -> bool:
        """Whether the schema was what the model refused. It is asked again without it, at once: that is no retry of
        something that failed, and takes nothing from the budget for those.
        """
        told = self._result.failure
        return self._untold is not None and told is not None and refuses_schema(told)

    async def _again(self, route: Route, number: int) -> bool:
        """Decide whether the same model is asked again, and wait for that."""
        told = self._result.failure
        if told is None or not told.transient or told.reason == Reason.CIRCUIT_OPEN or number >= MAX_ATTEMPTS:
            return False
        asked = None if told.retry_after_ns is None else told.retry_after_ns / 1e9
        wait = backoff(number, asked, self._tools.source)
        if wait >= self._left():
            return False
        if not route.endpoint.budget.spend():
            self._fail(_no_budget(route, told))
            return False
        await self._tell(wait)
        self._listener.progress(
            BranchState.WAITING, detail=f"{_said(told)}, retry {number} of {MAX_ATTEMPTS - 1}", wait=wait
        )
        await asyncio.sleep(wait)
        return True

    async def _tell(self, wait: float | None = None) -> None:
        """Tell the attempt that failed, now that another follows."""
        if self._untold is None:
            return
        told, self._untold = self._untold, None
        if wait is not None:
            told = self._attempts[-1] = structs.replace(told, wait_ns=int(wait * 1e9))
        await self._listener.attempt_failed(told)

    def _refused(self, route: Route, left: float) -> bool:
        name = route.endpoint.settings.name
        told = failure(
            Reason.CIRCUIT_OPEN, f"The endpoint {name} failed repeatedly and is left alone for a while.", endpoint=name
        )
        self._fail(structs.replace(told, retry_after_ns=int(left * 1e9)))
        return False

    def _fail(self, told: Failure) -> None:
        self._result = structs.replace(self._result, state=BranchState.FAILED, failure=told)

    def _late(self, message: str) -> Failure:
        """Return whose time was over: the fan-out's or the call's own."""
        limit = self._spec.deadline
        if limit is not None and limit <= self._deadline:
            return failure(Reason.DEADLINE_EXCEEDED, message)
        return failure(Reason.TOTAL_TIMEOUT, message)

    def _cut(self) -> None:
        """The call was cut off from outside."""
        state = BranchState.PARTIAL if self._result.text else BranchState.CANCELLED
        told = failure(Reason.CANCELLED, "The call was cut off.")
        self._result = structs.replace(self._result, state=state, failure=told)

    def _last_moment(self, route: Route) -> float:
        total = route.limits(self._spec.limits).total or 0.0
        own = self._start + total
        return own if self._spec.deadline is None else min(own, self._spec.deadline)

    def _left(self) -> float:
        return self._deadline - self._now()

    def _took_ns(self) -> int:
        return int((self._now() - self._start) * 1e9)

    def _finished(self) -> CallResult:
        attempts = tuple(self._attempts)
        first = self._first_token if self._result.text and not self._result.cached else None
        return structs.replace(
            self._result,
            attempts=attempts,
            totals=_totals(attempts, cached=self._result.cached, unpriced=self._unpriced),
            latency_ns=self._took_ns(),
            first_token_ns=None if first is None else int((first - self._start) * 1e9),
        )


async def _cut_off(stop: asyncio.Event, scope: asyncio.Timeout) -> None:
    await stop.wait()
    scope.reschedule(asyncio.get_running_loop().time())


def _totals(attempts: tuple[Attempt, ...], *, cached: bool, unpriced: int) -> Totals:
    usage = Usage()
    for attempt in attempts:
        usage += attempt.usage
    return Totals(
        settled=Nanos(sum(attempt.cost for attempt in attempts if attempt.billing is Billing.SETTLED)),
        unknown=Nanos(sum(attempt.cost for attempt in attempts if attempt.billing is Billing.UNKNOWN)),
        usage=usage,
        attempts=len(attempts),
        cache_hits=int(cached),
        unpriced=unpriced,
    )


def _said(told: Failure) -> str:
    return told.reason.replace("_", " ").lower()


def _no_budget(route: Route, told: Failure) -> Failure:
    """Say that there is no retry, and what it would have been for."""
    name = route.endpoint.settings.name
    message = f"Too many calls to {name} fail for each of them to be tried again. This one failed thus: {told.message}"
    return failure(Reason.RETRY_BUDGET_EXHAUSTED, message, endpoint=name, cause=told.reason)
