from collections.abc import AsyncIterator

import pytest
from tests.agent.house import House, open_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house(House()) as opened:
        yield opened
