import subprocess
import sys
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from whet_server.ledger.prices import Price, find_price

LAB = "https://api.lab.example/v1"
OPENAI = "https://api.openai.com/v1"


def priced(dollars_in: str | TieredPrices, dollars_out: str) -> ModelPrice:
    first = dollars_in if isinstance(dollars_in, TieredPrices) else Decimal(dollars_in)
    return ModelPrice(input_mtok=first, output_mtok=Decimal(dollars_out))


TABLE: dict[str, ModelPrice | list[ConditionalPrice]] = {
    "plain": priced("0.15", "0.6"),
    "fine": priced("0.0000000011", "0.0000000001"),
    "tiered": priced(TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(3))]), "4"),
    "hours": [
        ConditionalPrice(prices=priced("1", "2")),
        ConditionalPrice(TimeOfDateConstraint(time(3), time(4)), prices=priced("3", "1")),
    ],
    "dates": [
        ConditionalPrice(prices=priced("9", "9")),
        ConditionalPrice(StartDateConstraint(date(2020, 1, 1)), prices=priced("5", "6")),
        ConditionalPrice(StartDateConstraint(date(2999, 1, 1)), prices=priced("8", "8")),
    ],
    "reasoning": ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2), output_reasoning_mtok=Decimal(3)),
    "embedding": ModelPrice(input_mtok=Decimal(1)),
    "fee": ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)),
}


@pytest.fixture
def lab() -> Iterator[None]:
    models = [ModelInfo(id=name, match=ClauseEquals(name), prices=prices) for name, prices in TABLE.items()]
    provider = Provider(id="lab", name="Lab", api_pattern=r"https://api\.lab\.example", models=models)
    set_custom_snapshot(DataSnapshot(providers=[provider], from_auto_update=False))
    yield
    set_custom_snapshot(None)


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("model", "dearest"),
    [
        ("plain", (150_000_000, 600_000_000)),
        ("fine", (2, 1)),
        ("tiered", (3_000_000_000, 4_000_000_000)),
        ("hours", (3_000_000_000, 2_000_000_000)),
        ("dates", (5_000_000_000, 6_000_000_000)),
        ("reasoning", (1_000_000_000, 3_000_000_000)),
    ],
)
def test_a_price_is_the_dearest_that_may_apply_in_whole_nanos(model: str, dearest: tuple[int, int]) -> None:
    assert find_price(LAB, model) == Price(input=dearest[0], output=dearest[1], source="genai-prices")


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("model", ["embedding", "fee", "no such model"])
def test_what_tokens_alone_do_not_bound_has_no_price(model: str) -> None:
    assert find_price(LAB, model) is None


def test_the_bundled_table_knows_a_common_model_and_not_a_server_at_home() -> None:
    price = find_price(OPENAI, "gpt-4o-mini")
    assert price is not None
    assert 0 < price.input < price.output
    assert find_price("http://127.0.0.1:8080/v1", "gpt-4o-mini") is None


def test_the_table_is_not_loaded_before_somebody_asks() -> None:
    program = "import sys, whet_server.ledger.ledger; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
