"""Prices: as values, and as the bundled table of genai-prices knows them. Nothing here uses the network."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from whet_server.values import NANOS_PER_USD, Nanos, Usage, Value, cost

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice

SOURCE: Final = "genai-prices"
_PER_REQUEST: Final = "requests_kcount"
"""A fee for each request, which a price for tokens cannot bound."""


class Price(Value):
    """Nanos of a US dollar for a million tokens. `source` says where it is from: `endpoint`, `genai-prices`, `local`,
    `sim`.
    """

    input: int
    output: int
    source: str = ""

    def of(self, usage: Usage) -> Nanos:
        """Return what so many tokens cost."""
        return Nanos(cost(usage.input_tokens, self.input) + cost(usage.output_tokens, self.output))


def find_price(base_url: str, model: str) -> Price | None:
    """Return the price of the endpoint's model, the highest that may apply; None when it is not known.

    Where the price depends on the length of the prompt the highest tier is taken, and where it depends on the time of
    day the dearest hour. The first call takes half a second and some thirty megabytes to load the table: make it from
    a thread.
    """
    from genai_prices.data_snapshot import get_snapshot  # loaded here: whoever asks only local models never needs it

    try:
        _, info = get_snapshot().find_provider_model(model, None, None, base_url)
    except LookupError:
        return None
    applicable = _applicable(info, datetime.now(UTC))
    inputs = [_highest(prices, "input_mtok") for prices in applicable]
    outputs = [_highest(prices, "output_mtok", "output_reasoning_mtok") for prices in applicable]
    if not applicable or any(getattr(prices, _PER_REQUEST, None) for prices in applicable):
        return None
    dearest_input, dearest_output = _dearest(inputs), _dearest(outputs)
    if dearest_input is None or dearest_output is None:
        return None
    return Price(input=dearest_input, output=dearest_output, source=SOURCE)


def _applicable(info: "ModelInfo", now: datetime) -> "list[ModelPrice]":
    """Return the prices that may hold today: a later one without hours, or whose day has come, ends those before."""
    from genai_prices.types import StartDateConstraint

    if not isinstance(info.prices, list):
        return [info.prices]
    found: list[ConditionalPrice] = []
    for price in info.prices:
        if price.constraint is None:
            found = [price]
        elif not isinstance(price.constraint, StartDateConstraint):
            found.append(price)
        elif price.constraint.active(now):
            found = [price]
    return [price.prices for price in found]


def _highest(prices: "ModelPrice", *names: str) -> Decimal | None:
    from genai_prices.types import TieredPrices

    found: list[Decimal] = []
    for name in names:
        price = getattr(prices, name, None)
        if isinstance(price, TieredPrices):
            found += [price.base, *(tier.price for tier in price.tiers)]
        elif isinstance(price, Decimal):
            found.append(price)
    return max(found, default=None)


def _dearest(dollars: Sequence[Decimal | None]) -> int | None:
    """Return the highest in whole nanos, rounded up; None when one of them is not known."""
    known = [price for price in dollars if price is not None]
    if len(known) < len(dollars):
        return None
    return int((max(known) * NANOS_PER_USD).to_integral_value(ROUND_CEILING))
