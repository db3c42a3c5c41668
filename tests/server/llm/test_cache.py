import asyncio
from collections.abc import Sequence

from tests.server.llm.house import HOME

from whet_server.errors import StorageUnavailable
from whet_server.llm.cache import DEFAULT_TTL, SWEEP_SECONDS, Question, ResponseCache
from whet_server.store.base import CachedAnswer, RemoveCached, RequestRecord, Write
from whet_server.store.memory import MemoryStore
from whet_server.values import Message, ModelName, Parameters, Speaker, Usage, Workspace

QUESTION = Question(
    workspace=HOME,
    model=ModelName("stub/plain"),
    base_url="https://a.example/v1",
    messages=(Message(role=Speaker.USER, content="what is a monad"),),
    parameters=Parameters(max_tokens=10, temperature=0.5),
)


class Time:
    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.now


class Diskless(MemoryStore):
    """A store whose disk is full."""

    async def commit(self, *writes: Write) -> None:
        raise StorageUnavailable("no space left")


class Counting(MemoryStore):
    """A store that counts transactions and look-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Sequence[Write]] = []

    async def commit(self, *writes: Write) -> None:
        self.commits.append(writes)
        await super().commit(*writes)


def _put(
    cache: ResponseCache, question: Question = QUESTION, *, ttl: float | None = None, text: str = "A monoid."
) -> None:
    usage = Usage(output_tokens=3)
    cache.put(question, question.key(), text=text, usage=usage, finish_reason="stop", simulated=False, ttl=ttl)


def _changed(**changes: object) -> Question:
    values = {name: getattr(QUESTION, name) for name in Question.__struct_fields__}
    return Question(**(values | changes))


async def test_an_answer_is_found_before_and_after_it_is_written() -> None:
    store = MemoryStore()
    cache = ResponseCache(store, clock=Time())
    _put(cache)
    at_once = await cache.get(HOME, QUESTION.key())
    await cache.close()
    later = await ResponseCache(store, clock=Time()).get(HOME, QUESTION.key())
    assert at_once == later
    assert later is not None
    assert (later.text, later.model, later.usage.output_tokens) == ("A monoid.", "stub/plain", 3)


def test_everything_that_decides_the_answer_is_in_the_key() -> None:
    others = [
        _changed(workspace=Workspace("other")),
        _changed(model=ModelName("stub/other")),
        _changed(base_url="https://b.example/v1"),
        _changed(messages=(Message(role=Speaker.SYSTEM, content="what is a monad"),)),
        _changed(messages=(*QUESTION.messages, *QUESTION.messages)),
        _changed(parameters=Parameters(max_tokens=10, temperature=0.6)),
        _changed(parameters=Parameters(max_tokens=10, temperature=0.5, seed=1)),
        _changed(sample=2),
        _changed(sample=3),
    ]
    assert len({QUESTION.key(), *(other.key() for other in others)}) == len(others) + 1
    assert _changed().key() == QUESTION.key()
    assert len(QUESTION.key()) == 32


async def test_an_answer_grows_stale() -> None:
    clock = Time()
    cache = ResponseCache(MemoryStore(), clock=clock)
    _put(cache)
    _put(cache, _changed(sample=2), ttl=5.0)
    clock.now += int(5e9)
    assert await cache.get(HOME, QUESTION.key()) is not None
    assert await cache.get(HOME, _changed(sample=2).key()) is None
    clock.now += int(DEFAULT_TTL * 1e9)
    assert await cache.get(HOME, QUESTION.key()) is None
    await cache.close()


async def test_an_answer_that_may_not_be_kept_is_not_kept() -> None:
    cache = ResponseCache(MemoryStore(), clock=Time())
    _put(cache, ttl=0.0)
    assert await cache.get(HOME, QUESTION.key()) is None


async def test_many_answers_share_a_transaction_and_none_is_waited_for() -> None:
    store = Counting()
    cache = ResponseCache(store, clock=Time())
    for sample in range(1, 501):
        _put(cache, _changed(sample=sample))
    assert store.commits == []
    await cache.close()
    assert len(store.commits) == 1
    assert (await cache.stats(HOME)).entries == 500


async def test_an_answer_put_while_others_are_written_is_written_too() -> None:
    store = Counting()
    cache = ResponseCache(store, clock=Time())
    _put(cache)
    await asyncio.sleep(0)
    _put(cache, _changed(sample=2))
    _put(cache, text="A burrito.")
    await cache.close()
    found = await store.cached(HOME, QUESTION.key())
    assert found is not None
    assert found.text == "A burrito."
    assert await store.cached(HOME, _changed(sample=2).key()) is not None


async def test_hits_and_misses_are_counted_for_each_workspace() -> None:
    cache = ResponseCache(MemoryStore(), clock=Time())
    await cache.get(HOME, QUESTION.key())
    _put(cache)
    await cache.get(HOME, QUESTION.key())
    await cache.get(HOME, QUESTION.key())
    await cache.look(HOME, b"nothing")
    stats = await cache.stats(HOME)
    assert (stats.hits, stats.misses, stats.entries) == (2, 1, 1)
    assert stats.size_bytes > 0
    other = await cache.stats(Workspace("other"))
    assert (other.hits, other.misses, other.entries, other.size_bytes) == (0, 0, 0, 0)


async def test_clearing_empties_one_workspace_and_says_how_much_it_was() -> None:
    store = MemoryStore()
    cache = ResponseCache(store, clock=Time())
    _put(cache)
    _put(cache, _changed(sample=2))
    _put(cache, _changed(workspace=Workspace("other")))
    request = RequestRecord(
        workspace=HOME, request_id="r", method="ClearCache", payload_digest="d", answer="", create_ns=1
    )
    assert await cache.clear(HOME, also=[request]) == 2
    assert await store.request(HOME, "r") is not None
    assert await cache.get(HOME, QUESTION.key()) is None
    assert (await cache.stats(Workspace("other"))).entries == 1


async def test_what_has_expired_is_removed_now_and_then() -> None:
    store, clock = Counting(), Time()
    cache = ResponseCache(store, clock=clock)
    _put(cache, ttl=1.0)
    await cache.close()
    clock.now += int(SWEEP_SECONDS * 1e9)
    _put(cache, _changed(sample=2))
    await cache.close()
    assert [type(write) for write in store.commits[1]] == [CachedAnswer, RemoveCached]
    assert await store.cached(HOME, QUESTION.key()) is None


async def test_a_full_disk_costs_the_cache_and_not_the_call() -> None:
    cache = ResponseCache(Diskless(), clock=Time())
    _put(cache)
    await cache.close()
    assert await cache.get(HOME, QUESTION.key()) is None
