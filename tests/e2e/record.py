"""What a client has been told, kept by itself, so that nothing can be taken back behind its back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.e2e.serving import Wire

from whet.v1 import event_pb2, fanout_pb2, trace_pb2

PAGE = 1_000


@dataclass(slots=True)
class Seen:
    """One run as one client has seen it, over any number of connections.

    Durable events must come in their order, each once for every attachment, and be the same whenever they are seen
    again. Text is put together by its offsets, and must be what the durable end of a branch or a draft says.
    """

    request: fanout_pb2.RunFanoutRequest
    run_id: str = ""
    hashes: list[bytes] = field(default_factory=list)
    cursors: list[tuple[str, int]] = field(default_factory=lambda: [("", 0)])
    """Every cursor that was given out, with the number of durable events before it."""
    ends: dict[str, event_pb2.BranchFinished] = field(default_factory=dict)
    drafts: int = 0
    finished: event_pb2.RunFinished | None = None
    texts: dict[str, str] = field(default_factory=dict)
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first text has come."""
    answers: int = 0
    """Branches and drafts that are done."""
    whole: int = 0
    """Those of them whose text had come by deltas, from the first character to the last, before their end."""
    said: object = ""
    """What the assertions say beside what is wrong, such as the seed."""
    _at: int = 0

    def attach(self, cursor: int = -1) -> str:
        """Begin a new attachment at one of the cursors; return it."""
        text, self._at = self.cursors[cursor]
        return text

    def name(self, run_id: str) -> None:
        """Be told the run's id; it must be the same every time."""
        assert self.run_id in {"", run_id}, (self.said, "another run for the same request id")
        self.run_id = run_id

    def hear(self, batch: event_pb2.EventBatch) -> None:
        """Take a batch in."""
        for event in batch.events:
            if event.sequence:
                self._durable(event)
            else:
                self._live(event)
        if batch.next_cursor != self.cursors[-1][0]:
            self.cursors.append((batch.next_cursor, self._at))

    def _durable(self, event: event_pb2.Event) -> None:
        assert event.sequence == self._at + 1, (self.said, self.run_id, self._at, event)
        self._at += 1
        if self._at <= len(self.hashes):
            assert event.hash == self.hashes[self._at - 1], (self.said, self.run_id, "an event has changed", event)
            return
        self.hashes.append(event.hash)
        match event.WhichOneof("payload"):
            case "run_opened":
                self.name(event.run_opened.run_id)
            case "branch_finished":
                end = event.branch_finished
                assert end.branch_id not in self.ends, (self.said, "a branch ended twice", end)
                self.ends[end.branch_id] = end
                self._compare(end.branch_id, end.state, end.text)
            case "draft_started":
                self.drafts += 1
                assert event.draft_started.revision == self.drafts, (self.said, event)
            case "draft_ended":
                self._compare(f"draft {event.draft_ended.revision}", event.draft_ended.state, event.draft_ended.text)
            case "run_finished":
                self.finished = event.run_finished

    def _live(self, event: event_pb2.Event) -> None:
        if event.HasField("branch_delta"):
            self._grow(event.branch_delta.branch_id, event.branch_delta.offset, event.branch_delta.text)
        elif event.HasField("draft_delta"):
            self._grow(f"draft {event.draft_delta.revision}", event.draft_delta.offset, event.draft_delta.text)

    def _grow(self, name: str, offset: int, text: str) -> None:
        before = self.texts.get(name, "")
        assert offset <= len(before), (self.said, self.run_id, name, "text is missing before", offset)
        self.texts[name] = before[:offset] + text
        self.spoken.set()

    def _compare(self, name: str, state: event_pb2.BranchState.ValueType, text: str) -> None:
        if state == event_pb2.BRANCH_STATE_DONE:
            heard = self.texts.get(name, "")
            assert text.startswith(heard), (self.said, self.run_id, name, heard, text)
            self.answers += 1
            self.whole += heard == text


async def run_once(wire: Wire, seen: Seen) -> None:
    """Call RunFanout and take in what comes until the stream ends."""
    seen.attach(0)
    async for answer in wire.fanouts.RunFanout(seen.request, metadata=wire.metadata):
        seen.name(answer.run_id)
        seen.hear(answer.batch)


async def watch_once(wire: Wire, seen: Seen, cursor: int = -1) -> None:
    """Call WatchFanout from a cursor and take in what comes until the stream ends."""
    request = fanout_pb2.WatchFanoutRequest(run_id=seen.run_id, cursor=seen.attach(cursor))
    async for answer in wire.fanouts.WatchFanout(request, metadata=wire.metadata):
        seen.hear(answer.batch)


async def recorded(wire: Wire, run_id: str) -> AsyncIterator[event_pb2.Event]:
    """Yield the run's durable events as the trace has them."""
    after = 0
    while True:
        page = await wire.ask(
            wire.traces.GetTrace,
            trace_pb2.GetTraceRequest(run_id=run_id, after_sequence=after, max_events=PAGE),
        )
        for event in page.events:
            yield event
        if not page.more:
            return
        after = page.events[-1].sequence


async def check_record(wire: Wire, seen: Seen) -> None:
    """The server still has every event that the client has seen, as it was, in a chain that proves itself."""
    known = list(seen.hashes)
    hashes = [event.hash async for event in recorded(wire, seen.run_id)]
    assert hashes[: len(known)] == known, (seen.said, seen.run_id)
    proof = await wire.ask(
        wire.traces.VerifyTrace,
        trace_pb2.VerifyTraceRequest(run_id=seen.run_id, expected_hash=known[-1].hex() if known else ""),
    )
    assert proof.valid, (seen.said, seen.run_id, proof.problem)
