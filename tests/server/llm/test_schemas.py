import json

import pytest
from msgspec import structs
from tests.server.llm.house import open_house, spec

from whet_server.errors import Reason
from whet_server.llm.base import CallSpec
from whet_server.llm.taxonomy import failure, refuses_schema
from whet_server.log.lifecycle import BranchState


def with_schema(model: str, *, bypass: bool = True) -> CallSpec:
    plain = spec(model, bypass=bypass)
    return structs.replace(
        plain, parameters=structs.replace(plain.parameters, json_schema=json.dumps({"type": "object"}))
    )


async def test_a_model_that_refuses_a_schema_is_asked_again_without_it_at_once_and_then_never_with_one() -> None:
    async with open_house() as house:
        first = await house.call(with_schema("no-schema"))
        second = await house.call(with_schema("no-schema"))
    assert first.state is second.state is BranchState.DONE
    assert [attempt.failure and attempt.failure.reason for attempt in first.attempts] == [Reason.REQUEST_REFUSED, None]
    assert [attempt.failure for attempt in second.attempts] == [None]


async def test_what_was_answered_without_the_schema_is_cached_for_the_question_as_it_was_asked() -> None:
    async with open_house() as house:
        await house.call(with_schema("no-schema", bypass=False))
        again = await house.call(with_schema("no-schema", bypass=False))
        other = await house.call(spec("no-schema", bypass=False))
    assert (again.cached, other.cached) == (True, False)


async def test_every_other_refusal_stays_one() -> None:
    async with open_house() as house:
        result = await house.call(with_schema("bad-request"))
    assert result.state is BranchState.FAILED
    assert len(result.attempts) == 1


@pytest.mark.parametrize(
    ("reason", "message", "refuses"),
    [
        (Reason.REQUEST_REFUSED, "'response_format' of type 'json_schema' is not supported with this model", True),
        (Reason.REQUEST_REFUSED, "Invalid schema: structured outputs are not available", True),
        (Reason.REQUEST_REFUSED, "failed to parse grammar", True),
        (Reason.REQUEST_REFUSED, "temperature: must be below 2", False),
        (Reason.RATE_LIMITED, "response_format", False),
    ],
)
def test_a_refused_schema_is_told_from_other_refusals(reason: Reason, message: str, *, refuses: bool) -> None:
    assert refuses_schema(failure(reason, message)) is refuses
