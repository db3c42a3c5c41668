"""Endpoints, models, prices and limits."""

from typing import Final

from whet.v1 import model_pb2
from whet_server.ledger.ledger import Price
from whet_server.llm.base import EndpointSettings, ModelInfo, ModelSettings, RateLimits
from whet_server.llm.breaker import CircuitState
from whet_server.llm.registry import EndpointStatus, EndpointTest
from whet_server.rpc.convert.enums import CIRCUIT_STATE, ENDPOINT_KIND
from whet_server.rpc.convert.values import duration, failure_or_none, timestamp_or_none

DEFAULT_MAX_TOKENS: Final = 1_024
"""As the contract says of an answer's length that nobody set."""


def price_message(price: Price) -> model_pb2.Price:
    return model_pb2.Price(
        input_nanos_per_million=price.input, output_nanos_per_million=price.output, source=price.source
    )


def rate_limits_message(limits: RateLimits) -> model_pb2.RateLimits:
    return model_pb2.RateLimits(
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        max_concurrency=limits.max_concurrency,
    )


def rate_limits_of(message: model_pb2.RateLimits) -> RateLimits:
    return RateLimits(
        requests_per_minute=message.requests_per_minute,
        tokens_per_minute=message.tokens_per_minute,
        max_concurrency=message.max_concurrency,
    )


def model_settings_message(settings: ModelSettings) -> model_pb2.ModelSettings:
    return model_pb2.ModelSettings(
        model=settings.model,
        price=None if settings.price is None else price_message(settings.price),
        limits=rate_limits_message(settings.limits),
        default_max_tokens=settings.default_max_tokens,
    )


def model_settings_of(message: model_pb2.ModelSettings) -> ModelSettings:
    """Unpack a model's settings. A price that somebody sets is the endpoint's, whatever source it names."""
    price = Price(
        input=message.price.input_nanos_per_million,
        output=message.price.output_nanos_per_million,
        source="endpoint",
    )
    return ModelSettings(
        model=message.model,
        price=price if message.HasField("price") else None,
        limits=rate_limits_of(message.limits),
        default_max_tokens=message.default_max_tokens or DEFAULT_MAX_TOKENS,
    )


def settings_of(request: model_pb2.PutEndpointRequest) -> EndpointSettings:
    """Unpack an endpoint without its key."""
    return EndpointSettings(
        name=request.name,
        base_url=request.base_url,
        limits=rate_limits_of(request.limits),
        models=tuple(model_settings_of(model) for model in request.models),
        source="rpc",
    )


def endpoint_message(status: EndpointStatus) -> model_pb2.Endpoint:
    settings = status.settings
    return model_pb2.Endpoint(
        name=settings.name,
        kind=ENDPOINT_KIND.wire[settings.kind],
        base_url=settings.base_url,
        has_key=status.has_key,
        limits=rate_limits_message(settings.limits),
        models=[model_settings_message(model) for model in settings.models],
        source=settings.source,
        circuit=CIRCUIT_STATE.wire[CircuitState(status.circuit)],
        current_concurrency=status.current_concurrency,
        in_flight=status.in_flight,
        last_failure=failure_or_none(status.last_failure),
        last_success_time=timestamp_or_none(status.last_success_ns),
    )


def endpoint_test_message(test: EndpointTest) -> model_pb2.TestEndpointResponse:
    return model_pb2.TestEndpointResponse(
        ok=test.ok, failure=failure_or_none(test.failure), latency=duration(test.latency_ns), models=test.models
    )


def model_message(info: ModelInfo, *, in_panel: bool) -> model_pb2.Model:
    return model_pb2.Model(
        name=info.name,
        price=None if info.price is None else price_message(info.price),
        simulated=info.simulated,
        default_max_tokens=info.default_max_tokens,
        description=info.description,
        in_panel=in_panel,
    )
