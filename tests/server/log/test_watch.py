import asyncio
import random
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.log.runs import (
    HOME,
    PATIENCE,
    RUN_ID,
    SUCCEEDED,
    Clock,
    DawdlingStore,
    delta,
    everything,
    finished,
    first,
    new_run,
    opened,
    sequences,
)

from whet_server.errors import CursorInvalid
from whet_server.log import log as log_module
from whet_server.log.events import BranchDelta, BranchFinished, BranchProgress, DraftDelta, Event, RunFinished
from whet_server.log.lifecycle import BranchState
from whet_server.log.log import EventLog, RunWriter
from whet_server.log.tap import BACKLOG_EVENTS, FLUSH_EVENTS, Tap
from whet_server.store.memory import MemoryStore
from whet_server.values import BranchId, RunId


@pytest.fixture
def log() -> EventLog:
    return EventLog(MemoryStore(), clock=Clock())


class Branches:
    """The owner of a run that streams branches: it emits what comes and knows the texts so far."""

    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self.texts: dict[int, str] = {}
        writer.snapshot = lambda: [delta(number, 0, text) for number, text in self.texts.items()]

    def grow(self, number: int, piece: str) -> None:
        self.writer.emit(delta(number, len(self.texts.setdefault(number, "")), piece))
        self.texts[number] += piece

    async def end(self, number: int) -> None:
        await self.writer.append(finished(number, self.texts.get(number, "")))
        self.texts.pop(number, None)


class Reader:
    """A client: folds events, and may leave and come back."""

    def __init__(self) -> None:
        self.cursor = ""
        self.sequences: list[int] = []
        self.texts: dict[str, str] = {}
        self.ended = False

    def hear(self, event: Event) -> None:
        if event.sequence:
            self.sequences.append(event.sequence)
        payload = event.payload
        if isinstance(payload, BranchDelta):
            have = self.texts.get(payload.branch_id, "")
            assert payload.offset <= len(have), "a gap in a text"
            assert have.startswith(payload.text[: len(have) - payload.offset], payload.offset)
            self.texts[payload.branch_id] = have[: payload.offset] + payload.text
        elif isinstance(payload, BranchFinished):
            assert payload.text.startswith(self.texts.get(payload.branch_id, ""))
            self.texts[payload.branch_id] = payload.text
        elif isinstance(payload, RunFinished):
            self.ended = True

    async def watch(self, log: EventLog, batches: int | None) -> None:
        """Hear so many batches and leave; None means to the end."""
        async with asyncio.timeout(PATIENCE), aclosing(log.watch(HOME, RUN_ID, self.cursor)) as stream:
            async for batch in stream:
                for event in batch.events:
                    self.hear(event)
                self.cursor = batch.next_cursor
                if batches is not None and (batches := batches - 1) <= 0:
                    return

    async def come_and_go(self, log: EventLog, stays: list[int]) -> None:
        for stay in stays:
            if not self.ended:
                await self.watch(log, stay)
        if not self.ended:
            await self.watch(log, None)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    branches=st.integers(1, 6),
    steps=st.integers(0, 120),
    stays=st.lists(st.lists(st.integers(1, 4), max_size=6), min_size=1, max_size=4),
)
async def test_whoever_comes_and_goes_misses_nothing_and_hears_nothing_durable_twice(
    seed: int, branches: int, steps: int, stays: list[list[int]]
) -> None:
    chance = random.Random(seed)
    log = EventLog(DawdlingStore(chance), clock=Clock())
    owner = Branches(await log.open(new_run(), opened()))
    readers = [Reader() for _ in stays]
    tasks = [asyncio.create_task(reader.come_and_go(log, some)) for reader, some in zip(readers, stays, strict=True)]
    running, ending, whole = set(range(branches)), [], dict.fromkeys(range(branches), "")
    for _ in range(steps):
        if running and chance.random() < 0.8:
            number, piece = chance.choice(sorted(running)), chance.choice(["a", "π", "zebra ", "\U0001f642"])
            owner.grow(number, piece)
            whole[number] += piece
        elif running:
            number = running.pop()
            ending.append(asyncio.create_task(owner.end(number)))
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*ending, *(owner.end(number) for number in running))
    await owner.writer.finish(SUCCEEDED)
    await asyncio.gather(*tasks)
    for reader in readers:
        assert reader.sequences == list(range(1, branches + 3))
        assert reader.ended
        assert reader.texts == {f"b{number}": text for number, text in whole.items()}
    assert sequences(await everything(log)) == list(range(1, branches + 3))


async def test_every_cursor_that_was_given_out_goes_on_strictly_after_it(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    stream = log.watch(HOME, RUN_ID)
    cursors = [(await first(stream)).next_cursor]
    for number in range(1, 6):
        await writer.append(finished(number))
        cursors.append((await first(stream)).next_cursor)
    await writer.finish(SUCCEEDED)
    for seen, cursor in enumerate(cursors, start=1):
        assert sequences(await everything(log, cursor)) == list(range(seen + 1, 8))


async def test_now_means_only_what_is_new(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    await writer.append(finished(1))
    stream = log.watch(HOME, RUN_ID, "now")
    assert (await first(stream)).events == ()
    await writer.append(finished(2))
    assert sequences(list((await first(stream)).events)) == [3]


async def test_a_run_that_has_ended_is_replayed_and_the_watch_ends(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    await writer.append(*(finished(number) for number in range(1, 1201)))
    await writer.finish(SUCCEEDED)
    batches = [batch async for batch in log.watch(HOME, RUN_ID)]
    assert sequences([event for batch in batches for event in batch.events]) == list(range(1, 1203))
    assert [batch.caught_up for batch in batches] == [False] * (len(batches) - 1) + [True]
    last = batches[-1].next_cursor
    assert [batch.events async for batch in log.watch(HOME, RUN_ID, last)] == [()]


@pytest.mark.parametrize("cursor", ["nonsense", "1", "1.", "-1.", "ffff", " ", "0x1.", "1.000000000000", "π"])
async def test_a_cursor_that_was_never_given_out_is_refused(log: EventLog, cursor: str) -> None:
    await log.open(new_run(), opened())
    with pytest.raises(CursorInvalid):
        await first(log.watch(HOME, RUN_ID, cursor))


async def test_a_cursor_of_another_run_or_of_a_longer_one_is_refused(log: EventLog) -> None:
    other = RunId("fan_2")
    writer = await log.open(new_run(), opened())
    await log.open(new_run(other), opened(other))
    cursor = (await first(log.watch(HOME, other))).next_cursor
    with pytest.raises(CursorInvalid):
        await first(log.watch(HOME, RUN_ID, cursor))
    await writer.append(finished(1))
    ahead = (await first(log.watch(HOME, RUN_ID))).next_cursor
    shorter = EventLog(MemoryStore(), clock=Clock())
    await shorter.open(new_run(), opened())
    with pytest.raises(CursorInvalid):
        await first(shorter.watch(HOME, RUN_ID, ahead))


async def test_a_watcher_in_the_middle_first_gets_the_texts_so_far(log: EventLog) -> None:
    owner = Branches(await log.open(new_run(), opened()))
    owner.grow(1, "hello ")
    owner.grow(1, "wor")
    stream = log.watch(HOME, RUN_ID)
    heard = list((await first(stream)).events) + list((await first(stream)).events)
    assert [event.payload for event in heard if not event.sequence] == [delta(1, 0, "hello wor")]
    owner.grow(1, "ld")
    assert [event.payload for event in (await first(stream)).events] == [delta(1, 9, "ld")]


async def test_a_slow_watcher_gets_merged_texts_and_every_durable_event(log: EventLog) -> None:
    owner = Branches(await log.open(new_run(), opened()))
    stream = log.watch(HOME, RUN_ID)
    await first(stream)
    await first(stream)
    for _ in range(10_000):
        owner.grow(1, "a")
        owner.grow(2, "π")
    owner.writer.emit(DraftDelta(revision=1, offset=0, text="x"))
    owner.writer.emit(DraftDelta(revision=1, offset=1, text="y"))
    await owner.end(1)
    await owner.writer.finish(SUCCEEDED)
    events = (await first(stream)).events
    assert [event.sequence for event in events] == [0, 0, 0, 2, 3]
    assert [event.payload for event in events[:3]] == [
        delta(1, 0, "a" * 10_000),
        delta(2, 0, "π" * 10_000),
        DraftDelta(revision=1, offset=0, text="xy"),
    ]


async def test_a_watcher_far_behind_reads_the_store_again_and_misses_nothing(log: EventLog) -> None:
    owner = Branches(await log.open(new_run(), opened()))
    stream = log.watch(HOME, RUN_ID)
    heard = sequences(list((await first(stream)).events))
    for start in range(0, BACKLOG_EVENTS + 100, 500):
        await owner.writer.append(*(finished(number) for number in range(start, start + 500)))
    owner.grow(1, "live")
    await owner.writer.append(finished(9))
    texts: list[object] = []
    while len(heard) < owner.writer.run.event_count or not texts:
        events = (await first(stream)).events
        heard += sequences(list(events))
        texts += [event.payload for event in events if not event.sequence]
    assert heard == list(range(1, owner.writer.run.event_count + 1))
    assert texts == [delta(1, 0, "live")]
    await owner.writer.finish(SUCCEEDED)
    assert sequences(list((await first(stream)).events)) == [owner.writer.run.event_count]


async def test_an_idle_watch_says_that_it_lives(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "HEARTBEAT_SECONDS", 0.01)
    await log.open(new_run(), opened())
    stream = log.watch(HOME, RUN_ID)
    cursor = (await first(stream)).next_cursor
    await first(stream)
    beat = await first(stream)
    assert (beat.events, beat.next_cursor, beat.caught_up) == ((), cursor, True)


async def test_a_watcher_that_leaves_is_forgotten(log: EventLog) -> None:
    writer = await log.open(new_run(), opened())
    stream = log.watch(HOME, RUN_ID)
    await first(stream)
    await stream.aclose()
    assert writer._taps == []


async def _turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_first_token_goes_out_at_once_and_a_later_one_waits_for_company() -> None:
    tap = Tap()
    waiting = asyncio.create_task(tap.wait(60))
    await _turns()
    tap.put_live(delta(1, 5, "later"), 1)
    await _turns()
    assert not waiting.done()
    tap.put_live(delta(2, 0, "first"), 1)
    await _turns()
    assert waiting.done()
    assert [event.payload for event in tap.take()] == [delta(1, 5, "later"), delta(2, 0, "first")]


async def test_a_lonely_event_waits_for_a_blink_only() -> None:
    tap = Tap()
    waiting = asyncio.create_task(tap.wait(60))
    await _turns()
    tap.put_live(delta(1, 5, "later"), 1)
    async with asyncio.timeout(5):
        await waiting


async def test_a_full_batch_does_not_wait() -> None:
    tap = Tap()
    waiting = asyncio.create_task(tap.wait(60))
    await _turns()
    for number in range(FLUSH_EVENTS):
        assert not waiting.done()
        tap.put_live(delta(number, 5, "later"), 1)
    await _turns()
    assert waiting.done()


async def test_of_a_branchs_progress_the_newest_is_kept() -> None:
    def progress(state: BranchState) -> BranchProgress:
        return BranchProgress(branch_id=BranchId("b1"), state=state)

    tap = Tap()
    for state in (BranchState.WAITING, BranchState.ASKED, BranchState.STREAMING):
        tap.put_live(progress(state), 1)
    assert [event.payload for event in tap.take()] == [progress(BranchState.STREAMING)]


async def test_a_text_told_again_is_not_merged_with_what_came_before() -> None:
    tap = Tap()
    pieces = [delta(1, 0, "abc"), delta(1, 3, "d"), delta(1, 0, "abcd"), delta(1, 4, "e")]
    for piece in pieces:
        tap.put_live(piece, 1)
    assert [event.payload for event in tap.take()] == [delta(1, 0, "abcd"), delta(1, 0, "abcde")]
