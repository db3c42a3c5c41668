"""What one case would cost under one configuration, before anybody has asked it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from whet_server.judge.forecast import SHORT_VERDICT
from whet_server.llm.base import Caller, CallSpec, Estimate, ModelInfo
from whet_server.llm.call import EXPECTED_OUTPUT
from whet_server.llm.tab import Worst
from whet_server.values import ModelName, Parameters, Value, cost

LONGEST_TOKEN: Final = 8
"""Bytes of a token at most, over a whole answer, where a later prompt takes it in."""
_LIKELY_TOKEN: Final = 4
_FIRST_TOKEN: Final = 0.5
"""Seconds to the first token, and tokens a second after that, of models as they are; simulated ones are quicker."""
_RATE: Final = 80.0
_SIMULATED: Final = 0.3


class Guess(Value):
    """Of one case. Money in nanos; `asked` counts calls by model; `seconds` are those of calls one after the other."""

    calls: int = 0
    cached: int = 0
    low: int = 0
    expected: int = 0
    seconds: float = 0.0
    asked: tuple[tuple[ModelName, int], ...] = ()

    def __add__(self, other: "Guess") -> "Guess":
        asked = Counter(dict(self.asked)) + Counter(dict(other.asked))
        return Guess(
            calls=self.calls + other.calls,
            cached=self.cached + other.cached,
            low=self.low + other.low,
            expected=self.expected + other.expected,
            seconds=self.seconds + other.seconds,
            asked=tuple(asked.items()),
        )


async def guessed(caller: Caller, calls: Sequence[CallSpec]) -> Guess:
    """Look calls up that are made one after the other."""
    return sum([guess(call, await caller.estimate(call)) for call in calls], Guess())


def guess(call: CallSpec, found: Estimate) -> Guess:
    """Return what one call's estimate comes to."""
    return Guess(
        calls=1,
        cached=int(found.cached),
        low=0 if found.cached else _low(call, found.info),
        expected=found.expected or 0,
        seconds=0.0 if found.cached else seconds(call.models[0], likely_tokens(call.parameters, found.info)),
        asked=((call.models[0], 1),),
    )


def likely_tokens(parameters: Parameters, info: ModelInfo) -> int:
    """Return how long an answer is likely to be."""
    return min(EXPECTED_OUTPUT, parameters.max_tokens or info.default_max_tokens)


def likely_text(parameters: Parameters, info: ModelInfo) -> str:
    """Return a text as long as an answer is likely to be."""
    return "x" * (_LIKELY_TOKEN * likely_tokens(parameters, info))


def seconds(model: ModelName, tokens: int) -> float:
    """Return how long an answer is likely to take."""
    return _SIMULATED if model.startswith("sim/") else _FIRST_TOKEN + tokens / _RATE


def dearest(models: Iterable[ModelInfo], input_tokens: int, max_tokens: int | None) -> int:
    """Return the most that a call to one of the models can cost, when no attempt fails."""
    return max(
        (
            cost(input_tokens, info.price.input) + cost(max_tokens or info.default_max_tokens, info.price.output)
            for info in models
            if info.price is not None
        ),
        default=0,
    )


def _low(call: CallSpec, info: ModelInfo) -> int:
    if info.price is None:
        return 0
    likely = Worst(call.messages, call.parameters).likely_input
    short = min(SHORT_VERDICT, likely_tokens(call.parameters, info))
    return cost(likely, info.price.input) + cost(short, info.price.output)
