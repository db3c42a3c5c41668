"""What a fan-out may ask: every violation with the path of its field. The wire's rules refuse most of it earlier; this
is the room's own door, for callers that did not come over the wire.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from whet_server.errors import InvalidField
from whet_server.fanout.spec import BranchSpec, FanoutSpec
from whet_server.values import Message, ModelName, Parameters

MAX_BRANCHES: Final = 10_000
"""Branches with samples counted out: the plan of so many still fits one message of the stream."""
MAX_SAMPLES: Final = 100
MAX_DEADLINE: Final = 86_400.0
"""A day: longer waits belong to a scheduler."""
MAX_TOKENS: Final = 1_000_000

Violation = tuple[str, str]


def check(spec: FanoutSpec, panel: Sequence[BranchSpec]) -> None:
    """Raise `InvalidField` with everything that is wrong with a spec before its defaults are filled in."""
    wrong = [*_wrong_messages(spec.messages), *_wrong_parameters("spec.parameters", spec.parameters)]
    branches = spec.branches or tuple(panel)
    if not branches:
        wrong.append(("spec.models", "name a model: this server has no panel of its own"))
    for at, branch in enumerate(branches):
        wrong += _wrong_branch(f"spec.branches[{at}]", branch)
    count = sum(branch.samples for branch in branches)
    if count > MAX_BRANCHES:
        wrong.append(("spec.branches", f"{count} branches with all samples; ask at most {MAX_BRANCHES}"))
    if not 0 <= spec.enough <= count:
        wrong.append(("spec.finish.enough", f"must lie between 0 and the number of branches, {count}"))
    if spec.deadline is not None and not 0 < spec.deadline <= MAX_DEADLINE:
        wrong.append(("spec.finish.deadline", "must be above 0 and at most a day"))
    if spec.synthesis.start_after < 0:
        wrong.append(("spec.synthesis.start_after", "must not be negative"))
    if spec.synthesis.model is not None:
        wrong += _wrong_model("spec.synthesis.model", spec.synthesis.model)
    wrong += _wrong_parameters("spec.synthesis.parameters", spec.synthesis.parameters)
    if spec.cap is not None and spec.cap < 0:
        wrong.append(("spec.cap", "must not be negative"))
    if wrong:
        raise InvalidField(*wrong)


def _wrong_messages(messages: Sequence[Message]) -> Iterator[Violation]:
    if not messages:
        yield "spec.prompt", "ask something: give a prompt or messages"
    for at, message in enumerate(messages):
        if not message.content.strip():
            yield ("spec.prompt" if len(messages) == 1 else f"spec.messages[{at}].content"), "must not be empty"


def _wrong_branch(path: str, branch: BranchSpec) -> Iterator[Violation]:
    yield from _wrong_model(f"{path}.model", branch.model)
    for at, model in enumerate(branch.failover):
        yield from _wrong_model(f"{path}.failover[{at}]", model)
    if not 1 <= branch.samples <= MAX_SAMPLES:
        yield f"{path}.samples", f"must lie between 1 and {MAX_SAMPLES}"
    yield from _wrong_parameters(f"{path}.parameters", branch.parameters)


def _wrong_model(path: str, model: ModelName) -> Iterator[Violation]:
    endpoint, slash, name = model.partition("/")
    if not (endpoint and slash and name):
        yield path, f"{model[:100]!r} is no endpoint/model, such as local/smollm2"


def _wrong_parameters(path: str, parameters: Parameters) -> Iterator[Violation]:
    if parameters.temperature is not None and not 0 <= parameters.temperature <= 2:
        yield f"{path}.temperature", "must lie between 0 and 2"
    if parameters.top_p is not None and not 0 < parameters.top_p <= 1:
        yield f"{path}.top_p", "must be above 0 and at most 1"
    if parameters.max_tokens is not None and not 1 <= parameters.max_tokens <= MAX_TOKENS:
        yield f"{path}.max_tokens", f"must lie between 1 and {MAX_TOKENS}"
    if parameters.json_schema:
        try:
            msgspec.json.decode(parameters.json_schema, type=dict)
        except msgspec.DecodeError as error:
            yield f"{path}.json_schema", f"is no JSON object: {error}"
