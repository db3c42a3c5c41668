from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.e2e.serving import House, configuration

from whet_eval.bench import children
from whet_eval.misbehaviour import KINDS

SPOKEN = (
    "plain",
    "plain?chunks=3",
    "plain?chunks=12&gap_ms=4",
    "plain?chunks=30&gap_ms=8",
    "plain?chunks=6&first_ms=60",
    "plain?chunks=9&gap_ms=5",
    "judge?first_ms=60",
    "mixed",
)
"""Models of the stub that have a price beside its misbehaviours."""


@pytest.fixture
async def stub() -> AsyncIterator[str]:
    async with children.provider() as url:
        yield url


@pytest.fixture
async def house(stub: str, tmp_path: Path) -> AsyncIterator[House]:
    """A server that has never been started, with the provider stub's models at a price."""
    made = House(data=tmp_path / "data", config=configuration(stub, [*SPOKEN, *KINDS]))
    try:
        yield made
        assert made.complaints() == []
    finally:
        await made.close()
