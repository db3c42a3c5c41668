"""How many questions a judge is asked at once, and how long its verdicts take."""

from collections.abc import Mapping
from typing import Final

from whet_server.judging import Verdict
from whet_server.llm.base import ModelInfo
from whet_server.values import ModelName

_LOCAL: Final = "local"
_AT_ONCE_LOCALLY: Final = 1
"""The local model computes on one core as a rule, and reads the rubric once for each place it answers from; asked one
by one it reads it once for all, and chats keep the other places."""
_SECONDS: Final[Mapping[str, float]] = {_LOCAL: 10.0, "sim": 0.3}
"""How long a verdict takes by endpoint where none has come yet: the local model writes five hundred tokens, about fifty
a second on an idle machine."""
_SECONDS_ELSEWHERE: Final = 3.0
_NEWEST: Final = 0.2
"""The part that the newest verdict has in the figure: what ten verdicts ago was is nearly forgotten."""


def at_once(info: ModelInfo) -> int:
    """Return how many questions a model may have before it; 0: as many as the run has. Those that wait for a place
    do so before their calls begin, so that no limit of time runs meanwhile.
    """
    return _AT_ONCE_LOCALLY if endpoint_of(info.name) == _LOCAL else info.at_once


def endpoint_of(model: ModelName) -> str:
    return model.partition("/")[0]


class Pace:
    """Remembers how long verdicts have taken since the server started, by endpoint."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def seconds(self, model: ModelName) -> float:
        """Return how long a verdict of this model is likely to take."""
        endpoint = endpoint_of(model)
        return self._seconds.get(endpoint, _SECONDS.get(endpoint, _SECONDS_ELSEWHERE))

    def took(self, verdict: Verdict) -> None:
        """Learn from a verdict for which a model was asked."""
        if verdict.totals.attempts:
            seconds, endpoint = verdict.latency_ns / 1e9, endpoint_of(verdict.judge)
            before = self._seconds.get(endpoint, seconds)
            self._seconds[endpoint] = before + (seconds - before) * _NEWEST
