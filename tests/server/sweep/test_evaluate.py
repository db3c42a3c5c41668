import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.server.judge.bench import rubric, said_of
from tests.server.sweep.bench import HOME, RUN, House, means

from whet_server.errors import Reason
from whet_server.judge.spec import Asked
