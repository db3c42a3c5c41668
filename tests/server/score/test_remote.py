import asyncio
import math
from collections.abc import AsyncIterator, Callable

import pytest

from whet_server.errors import Reason, WrongState
from whet_server.judging import Direction, Item, Outcome, Verdict
from whet_server.score.remote import Answer, Connection, Offer, RemoteScorers, Task
from whet_server.score.spec import RemoteScorer
from whet_server.values import Workspace

HOME, THEIRS = Workspace("default"), Workspace("theirs")
MINE = RemoteScorer(name="mine", settings='{"a": 1}')
ITEM = Item(item_id="1", candidates=("text",), fields={"lang": "de"})


@pytest.fixture
def remotes() -> RemoteScorers:
    return RemoteScorers()


@pytest.fixture
async def connection(remotes: RemoteScorers) -> AsyncIterator[Connection]:
    made = remotes.connect(HOME, Offer(name="mine", unit="points", direction=Direction.LOWER, concurrency=2))
    yield made
    remotes.disconnect(HOME, made)


def asked(remotes: RemoteScorers, scorer: RemoteScorer = MINE) -> asyncio.Task[Verdict]:
    return asyncio.create_task(remotes.score(HOME, ITEM, "c", scorer))


async def task_of(connection: Connection) -> Task:
    async for task in connection.tasks(heartbeat=10):
        if task is not None:
            return task
    raise AssertionError("the stream ended without a task")


async def test_a_task_carries_the_item_and_the_settings_and_its_answer_is_a_verdict(
    remotes: RemoteScorers, connection: Connection
) -> None:
    verdict = asked(remotes)
    task = await task_of(connection)
    assert (task.item, task.settings) == (ITEM, '{"a": 1}')
    connection.answered(Answer(task_id=task.task_id, score=0.25, value=7.0, rationale="seven"))
    ended = await verdict
    assert (ended.outcome, ended.score, ended.value, ended.rationale) == (Outcome.SCORED, 0.25, 7.0, "seven")


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        ({"error": "no such file"}, Outcome.FAILED, Reason.SCORER_FAILED),
        ({"error": "both", "score": 1.0}, Outcome.FAILED, Reason.SCORER_FAILED),
        ({"rationale": "cannot say"}, Outcome.ABSTAINED, Reason.NOT_APPLICABLE),
        ({}, Outcome.ABSTAINED, Reason.NOT_APPLICABLE),
        ({"score": 1.01}, Outcome.UNPARSEABLE, Reason.SCORER_FAILED),
        ({"score": -0.0001}, Outcome.UNPARSEABLE, Reason.SCORER_FAILED),
        ({"score": math.nan}, Outcome.UNPARSEABLE, Reason.SCORER_FAILED),
        ({"score": math.inf}, Outcome.UNPARSEABLE, Reason.SCORER_FAILED),
        ({"score": 1.0, "value": math.nan}, Outcome.UNPARSEABLE, Reason.SCORER_FAILED),
    ],
)
async def test_what_is_no_score_is_never_one(
    remotes: RemoteScorers, connection: Connection, answer: dict[str, object], outcome: Outcome, reason: Reason
) -> None:
    verdict = asked(remotes)
    task = await task_of(connection)
    connection.answered(Answer(task_id=task.task_id, **answer))  # type: ignore[arg-type]  # a case of its fields
    ended = await verdict
    assert (ended.outcome, ended.score) == (outcome, None)
    assert ended.failure is not None
    assert ended.failure.reason == reason
    assert ended.failure.message


async def test_answers_find_their_tasks_in_any_order_and_strange_ids_none(
    remotes: RemoteScorers, connection: Connection
) -> None:
    verdicts = [asked(remotes), asked(remotes)]
    first, second = await task_of(connection), await task_of(connection)
    connection.answered(Answer(task_id="garbage", score=1.0))
    connection.answered(Answer(task_id=second.task_id, score=0.2))
    connection.answered(Answer(task_id=second.task_id, score=0.9))
    connection.answered(Answer(task_id=first.task_id, score=0.1))
    assert [(await verdict).score for verdict in verdicts] == [0.1, 0.2]


async def test_no_more_tasks_are_out_than_the_program_takes(remotes: RemoteScorers, connection: Connection) -> None:
    verdicts = [asked(remotes) for _ in range(3)]
    first = await task_of(connection)
    await task_of(connection)
    async for task in connection.tasks(heartbeat=0.01):
        assert task is None, "a third task is out"
        break
    connection.answered(Answer(task_id=first.task_id, score=1.0))
    await task_of(connection)
    for verdict in verdicts:
        verdict.cancel()


async def test_a_task_that_is_not_answered_in_time_has_timed_out(
    remotes: RemoteScorers, connection: Connection
) -> None:
    verdict = await remotes.score(HOME, ITEM, "c", RemoteScorer(name="mine", timeout_ns=1_000_000))
    assert (verdict.outcome, verdict.score) == (Outcome.TIMED_OUT, None)
    async for task in connection.tasks(heartbeat=0.01):
        assert task is None, "nobody waits for it any more"
        break


@pytest.mark.parametrize("end", [RemoteScorers.close, None])
async def test_tasks_that_are_open_when_the_stream_ends_may_be_asked_again(
    remotes: RemoteScorers, connection: Connection, end: Callable[[RemoteScorers], None] | None
) -> None:
    verdicts = [asked(remotes) for _ in range(4)]
    await task_of(connection)
    if end is None:
        remotes.disconnect(HOME, connection)
    else:
        end(remotes)
    for verdict in verdicts:
        ended = await verdict
        assert ended.outcome is Outcome.FAILED
        assert ended.failure is not None
        assert (ended.failure.reason, ended.failure.transient) == (Reason.SCORER_FAILED, True)
    assert [task async for task in connection.tasks()] == []


async def test_a_scorer_that_is_not_connected_has_failed_and_may_come(remotes: RemoteScorers) -> None:
    verdict = await remotes.score(HOME, ITEM, "c", MINE)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.failure is not None
    assert (verdict.failure.reason, verdict.failure.transient) == (Reason.SCORER_NOT_FOUND, True)


async def test_a_name_is_taken_once_in_a_workspace(remotes: RemoteScorers, connection: Connection) -> None:
    with pytest.raises(WrongState, match="mine is connected already"):
        remotes.connect(HOME, Offer(name="mine"))
    remotes.connect(THEIRS, Offer(name="mine"))
    assert [(info.name, info.unit, info.direction) for info in remotes.list(HOME)] == [
        ("remote:mine", "points", Direction.LOWER)
    ]
    remotes.disconnect(HOME, connection)
    assert remotes.connect(HOME, Offer(name="mine")).offer.name == "mine"


async def test_a_stream_without_tasks_shows_that_it_lives(connection: Connection) -> None:
    async for task in connection.tasks(heartbeat=0.001):
        assert task is None
        break
