"""One call to one model, with all that stands between: cache, limits, ledger, attempts, record."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import trace

from whet_server.errors import Reason
from whet_server.ledger.ledger import Ledger
from whet_server.llm.attempts import Tools, Work
from whet_server.llm.base import CallResult, CallSpec, EndpointKind, Estimate, Listener, ModelInfo, Transport
from whet_server.llm.cache import Question, ResponseCache
from whet_server.llm.registry import Endpoints
from whet_server.llm.spans import opened
from whet_server.llm.tab import Worst
from whet_server.llm.taxonomy import failure
from whet_server.log.lifecycle import BranchState
from whet_server.values import ModelName, Nanos, Workspace, cost

EXPECTED_OUTPUT: Final = 300
"""Tokens of an answer as they come: two or three paragraphs, where the limit is usually much higher."""

_tracer = trace.get_tracer("whet_server.llm")


class ModelCaller:
    """The real `Caller`. `clock` is Unix time in nanoseconds; `source` draws the jitter of retries."""

    def __init__(
        self,
        endpoints: Endpoints,
        ledger: Ledger,
        cache: ResponseCache,
        transports: Mapping[EndpointKind, Transport],
        *,
        clock: Callable[[], int] = time.time_ns,
        source: random.Random | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._cache = cache
        self._tools = Tools(
            endpoints=endpoints,
            ledger=ledger,
            cache=cache,
            transports=transports,
            clock=clock,
            source=source or random.SystemRandom(),
        )

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        """Make the call; see `base.Caller`."""
        if stop.is_set():
            told = failure(Reason.CANCELLED, "The call was cut off before it began.")
            return CallResult(state=BranchState.CANCELLED, model=spec.models[0], failure=told)
        with opened(_tracer, "llm.call") as span:
            result = await Work(self._tools, spec, listener).run(stop)
            if span.is_recording():
                _describe(span, spec, result)
            return result

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        """Return what is known of a model. Raises `EndpointNotFound`, `ModelNotFound` or `InvalidField`."""
        return await self._endpoints.resolve(workspace, model)

    async def estimate(self, spec: CallSpec) -> Estimate:
        """Say what the call would cost with its first model."""
        route = await self._endpoints.route(spec.workspace, spec.models[0])
        parameters = route.parameters(spec.parameters)
        question = Question.of(spec, route, parameters)
        found = None if spec.cache_bypass else await self._cache.look(spec.workspace, question.key())
        price, worst = route.info.price, Worst(spec.messages, parameters)
        if price is None:
            return Estimate(expected=None, worst=None, cached=found is not None, info=route.info)
        likely = min(EXPECTED_OUTPUT, worst.output_tokens)
        expected = cost(worst.likely_input, price.input) + cost(likely, price.output)
        return Estimate(
            expected=Nanos(0 if found is not None else expected),
            worst=Nanos(cost(worst.input_tokens, price.input) + cost(worst.output_tokens, price.output)),
            cached=found is not None,
            info=route.info,
        )


def _describe(span: trace.Span, spec: CallSpec, result: CallResult) -> None:
    span.set_attributes(
        {
            "gen_ai.request.model": spec.models[0],
            "gen_ai.response.model": result.model,
            "gen_ai.usage.input_tokens": result.usage.input_tokens,
            "gen_ai.usage.output_tokens": result.usage.output_tokens,
            "whet.run_id": spec.run_id,
            "whet.call_id": spec.call_id,
            "whet.state": result.state.value,
            "whet.attempts": len(result.attempts),
            "whet.cached": result.cached,
        }
    )
    if result.failure is not None:
        span.set_attribute("error.type", result.failure.reason)
        span.set_status(trace.StatusCode.ERROR, result.failure.reason)
