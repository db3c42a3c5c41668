"""A long conversation as a session has it on disk: its journal and what its mind reads of it.

Answers are Markdown as models write it, of several kinds in turn; every tenth turn asks three models through a tool.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from whet.v1 import event_pb2, value_pb2
from whet_agent.account import Account
from whet_agent.client import Client
from whet_agent.conversation import Entry, ToolRequest, calls_of, from_mind, from_tool, from_user
from whet_agent.decisions import Decisions
from whet_agent.events import (
    AssistantSaid,
    Envelope,
    Happening,
    RunHeard,
    Spent,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
)
from whet_agent.graph import Thread
from whet_agent.journal import JOURNAL, encode
from whet_agent.nodes import Context
from whet_agent.planner import OfflinePlanner
from whet_agent.purse import Purse
from whet_agent.record import Record
from whet_agent.sessions import CHECKPOINTS

CALL_EVERY: Final = 10
"""Each turn of so many asks three models."""
_BEGAN: Final = 1_760_000_000
"""When the conversation began, in seconds since the epoch: any time will do."""
_AUTHOR: Final = "bench"
_ANSWERS: Final = (
    """A **monoid** is a set with an operation that is associative and has a neutral element.

- lists under concatenation, with `[]`
- numbers under addition, with `0`
  - and under multiplication, with `1`

```python
def fold(values, operation, neutral):
    result = neutral
    for value in values:
        result = operation(result, value)
    return result
```

The law that matters in practice is *associativity*: it lets the work be split.
""",
    """Three stores, compared for this use:

| store | writes a second | durable | notes |
|---|---:|:---:|---|
| SQLite, WAL | 20,000 | yes | one writer, group commit |
| LMDB | 60,000 | yes | maps the file into memory |
| a dictionary | 3,000,000 | no | gone with the process |

> The numbers are of one machine; yours will differ.

1. Begin with SQLite.
2. Measure.
3. Change it only when the measurement says so.
""",
    "No. The second call is answered from the cache, so it costs nothing and the ledger shows one entry.",
    """モナドは、値を文脈に包み、その文脈の中で計算をつなげるための構造です。

- `unit` は値を文脈に入れます
- `bind` は次の計算につなげます

単位元と結合の**三つの法則**を満たします。 圏論では自己関手の圏のモノイド対象です。
""",
    """## What changed

The reader no longer waits for the whole body. It yields each event as soon as its last line is there:

```rust
fn next(&mut self) -> Option<Event> {
    while let Some(line) = self.lines.next() {
        if line.is_empty() {
            return self.pending.take();
        }
        self.pending.get_or_insert_with(Event::default).push(line);
    }
    None
}
```

### What to look at

Long lines are kept as they are, so a line of a megabyte is a string of a megabyte; ask whoever sends one.
Everything else is as it was before, and the tests of the old reader pass with the new one without a change.
""",
)
_BRANCHES: Final = ("sim/fast", "sim/steady", "sim/slow")


def write(folder: Path, session_id: str, messages: int) -> None:
    """Write a session of so many messages, half of them the person's: its journal and its checkpoint."""
    path = folder / session_id / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_journal(path, messages)
    asyncio.run(_write_checkpoint(folder, session_id, messages))


async def _write_checkpoint(folder: Path, session_id: str, messages: int) -> None:
    client, record = Client("", ""), Record(folder / session_id)
    account = Account(Purse(record.tally.runs), max_cost_nanos=None)
    context = Context(  # nobody is called and nobody thinks
        session_id=session_id,
        mind=OfflinePlanner(),
        agent=client,
        tools={},
        max_steps=1,
        account=account,
        decisions=Decisions(record, client, account),
    )
    thread = await Thread.open(folder / CHECKPOINTS, session_id, context)
    await thread.write(_entries(messages))
    await thread.close()
    record.close()


def _write_journal(path: Path, messages: int) -> None:
    with path.open("wb") as journal:
        number = 0
        for turn in range(1, messages // 2 + 1):
            for happening in _turn(turn):
                number += 1
                time_ns = (_BEGAN + turn) * 1_000_000_000
                journal.write(encode(Envelope(sequence=number, time_ns=time_ns, happening=happening)))


def _entries(messages: int) -> list[Entry]:
    """The same conversation as its mind reads it."""
    found: list[Entry] = []
    for turn in range(1, messages // 2 + 1):
        found.append(from_user(turn, question(turn)))
        if not turn % CALL_EVERY:
            asks = from_mind(turn, 1, "", [_request(turn)], author=_AUTHOR)
            (call,) = calls_of(asks)
            found += [asks, from_tool(call, _ANSWERS[0], ok=True, run=run_id(turn), answer=_ANSWERS[0], simulated=True)]
        found.append(from_mind(turn, 2, _ANSWERS[turn % len(_ANSWERS)], author=_AUTHOR))
    return found


def question(turn: int) -> str:
    """What the person says in a turn."""
    return f"question {turn}: what follows from that for the reader of the log, and what would you change?"


def _turn(turn: int) -> Iterator[Happening]:
    yield UserSaid(turn=turn, text=question(turn))
    if not turn % CALL_EVERY:
        yield from _call(turn)
    yield AssistantSaid(turn=turn, step=2, text=_ANSWERS[turn % len(_ANSWERS)], author=_AUTHOR)
    yield TurnEnded(turn=turn, state="done")


def _call(turn: int) -> Iterator[Happening]:
    request, run = _request(turn), run_id(turn)
    key = f"ses_bench/{turn}/1.1"
    yield ToolAsked(turn=turn, key=key, tool=request.name, arguments_json=request.arguments)
    for sequence, event in enumerate(_events(turn), start=1):
        event.sequence = sequence
        yield RunHeard(turn=turn, key=key, run_id=run, event=event)
    yield ToolAnswered(turn=turn, key=key, tool=request.name, ok=True, text=_ANSWERS[0], run_id=run)
    yield Spent(settled=turn * 1_000, unknown=0, reserved=0, input_tokens=turn * 40, output_tokens=turn * 400)


def _events(turn: int) -> Iterator[event_pb2.Event]:
    """A finished run of three branches with one draft."""
    at, done = Timestamp(seconds=_BEGAN + turn), event_pb2.BRANCH_STATE_DONE
    plans = [
        event_pb2.BranchPlan(branch_id=f"b{n}", model=model, sample=1, simulated=True)
        for n, model in enumerate(_BRANCHES)
    ]
    opened = event_pb2.RunOpened(
        run_id=run_id(turn),
        kind=event_pb2.RUN_KIND_FANOUT,
        title=question(turn),
        role="agent",
        branches=plans,
        prompt=question(turn),
        synthesis="draft",
    )
    yield event_pb2.Event(event_time=at, hash=bytes(32), run_opened=opened)
    for plan, text in zip(plans, _ANSWERS, strict=False):
        ended = event_pb2.BranchFinished(
            branch_id=plan.branch_id,
            state=done,
            text=text,
            model=plan.model,
            usage=value_pb2.Usage(input_tokens=12, output_tokens=len(text) // 4),
            totals=value_pb2.Totals(settled=value_pb2.Money(nanos=410_000)),
            latency=Duration(seconds=1),
            simulated=True,
        )
        yield event_pb2.Event(event_time=at, hash=bytes(32), branch_finished=ended)
    started = event_pb2.DraftStarted(revision=1, branch_ids=["b0", "b1"], model="sim/fast", final=True)
    yield event_pb2.Event(event_time=at, hash=bytes(32), draft_started=started)
    drafted = event_pb2.DraftEnded(revision=1, state=done, text=_ANSWERS[0], model="sim/fast", simulated=True)
    yield event_pb2.Event(event_time=at, hash=bytes(32), draft_ended=drafted)
    support = [event_pb2.Span(branch_id="b0", start=0, end=40, score=0.9)]
    sentences = [event_pb2.SupportedSentence(start=0, end=88, support=support)]
    final = event_pb2.SynthesisFinished(
        state=done, text=_ANSWERS[0], revision=1, branch_ids=["b0", "b1"], sentences=sentences, simulated=True
    )
    yield event_pb2.Event(event_time=at, hash=bytes(32), synthesis_finished=final)
    totals = value_pb2.Totals(settled=value_pb2.Money(nanos=1_230_000), usage=value_pb2.Usage(output_tokens=310))
    finished = event_pb2.RunFinished(state=event_pb2.RUN_STATE_SUCCEEDED, totals=totals, latency=Duration(seconds=3))
    yield event_pb2.Event(event_time=at, hash=bytes(32), run_finished=finished)


def _request(turn: int) -> ToolRequest:
    arguments = f'{{"spec": {{"prompt": "{question(turn)}", "models": ["sim/fast"]}}}}'
    return ToolRequest(call_id=f"c{turn}", name="fanout", arguments=arguments)


def run_id(turn: int) -> str:
    """The run that a turn's call made."""
    return f"fan_{turn:026}"
