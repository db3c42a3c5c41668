"""How far a judgement is, as the chat, plain lines and JSON lines show it."""

import json

from google.protobuf.duration_pb2 import Duration
from tests.tui.test_stream_json import streamed
from tests.tui.test_view import seen

from whet.v1 import event_pb2, judging_pb2, value_pb2
from whet_agent.events import Envelope, Happening, RunHeard, ToolAnswered, ToolAsked, TurnEnded, UserSaid
from whet_tui.entries import Call, FanoutState, Judging
from whet_tui.judged import progress_words
from whet_tui.plain import PlainPrinter
from whet_tui.themes import DARK
from whet_tui.widgets.block import Block
from whet_tui.widgets.ink import ink_of

KEY = "ses_1/1/1.0"
PLAN = event_pb2.JudgementPlan(
    items=2, criteria=["tone"], judges=["sim/judge"], verdicts=8, origin="data set s@1", simulated=True
)


def counts(**by_name: int) -> list[judging_pb2.OutcomeCount]:
    value = judging_pb2.Outcome.Value
    return [judging_pb2.OutcomeCount(outcome=value(f"OUTCOME_{name.upper()}"), count=n) for name, n in by_name.items()]


def progress(verdicts: int, **outcomes: int) -> event_pb2.Event:
    spent, left = value_pb2.Totals(settled=value_pb2.Money(nanos=20_000_000)), value_pb2.Money(nanos=30_000_000)
    told = event_pb2.JudgementProgress(verdicts=verdicts, planned=8, totals=spent, expected_left=left)
    told.time_left.CopyFrom(Duration(seconds=90))
    told.outcomes.extend(counts(**outcomes))
    return event_pb2.Event(judgement_progress=told)


OPENED = event_pb2.Event(sequence=1, run_opened=event_pb2.RunOpened(run_id="jud_1", judgement=PLAN))
SUMMED = event_pb2.Event(
    sequence=9,
    judgement_summed=event_pb2.JudgementSummed(
        criteria=[judging_pb2.CriterionSummary(criterion="tone", outcomes=counts(scored=6, timed_out=2))]
    ),
)
FINISHED = event_pb2.Event(
    sequence=10,
    run_finished=event_pb2.RunFinished(
        state=event_pb2.RUN_STATE_PARTIAL,
        failure=value_pb2.Failure(message="Two were late."),
        totals=value_pb2.Totals(settled=value_pb2.Money(nanos=50_000_000)),
        latency=Duration(seconds=3),
    ),
)


def conversation(*events: event_pb2.Event, ended: bool = True) -> list[Envelope]:
    told: list[Happening] = [
        UserSaid(turn=1, text="judge it"),
        ToolAsked(turn=1, key=KEY, tool="judge", arguments_json="{}"),
        *(RunHeard(turn=1, key=KEY, run_id="jud_1", event=event) for event in events),
    ]
    if ended:
        told += [ToolAnswered(turn=1, key=KEY, tool="judge", ok=True, text="Judgement jud_1", run_id="jud_1")]
        told += [TurnEnded(turn=1, state="done")]
    live = [isinstance(each, RunHeard) and not each.event.sequence for each in told]
    return [Envelope(sequence=0 if live[at] else at + 1, time_ns=at, happening=each) for at, each in enumerate(told)]


def judging(*events: event_pb2.Event, ended: bool = True) -> Judging:
    call = next(entry for entry in seen(conversation(*events, ended=ended)).entries if isinstance(entry, Call))
    assert call.fanout is None
    assert call.judging is not None
    return call.judging


def test_progress_is_told_in_one_line_with_outcomes_money_and_time() -> None:
    told = progress_words(judging(OPENED, progress(4, scored=3, abstained=1), ended=False))
    assert told == "4 of 8 verdicts · 3 scored, 1 abstained · $0.02 · about $0.03 to come · 1m30s left"


def test_what_is_told_again_after_a_cut_leads_nowhere_back() -> None:
    once = judging(OPENED, progress(4, scored=4), progress(6, scored=6), SUMMED, FINISHED)
    twice = judging(
        OPENED, progress(4, scored=4), progress(6, scored=6), progress(4, scored=4), SUMMED, SUMMED, FINISHED
    )
    assert once == twice


def test_who_hears_only_what_is_durable_knows_the_counts_too() -> None:
    found = judging(OPENED, SUMMED, FINISHED)
    assert (found.verdicts, found.outcomes, found.state) == (8, {"scored": 6, "timed out": 2}, FanoutState.PARTIAL)
    assert progress_words(found) == "partial · 8 of 8 verdicts · 6 scored, 2 timed out · $0.05 · 3.0 s"


def test_a_call_that_ends_before_its_run_says_so() -> None:
    found = judging(OPENED, progress(4, scored=4))
    assert found.left
    assert "not followed to its end" in progress_words(found)


def test_plain_lines_tell_the_beginning_each_quarter_and_the_end() -> None:
    lines: list[str] = []
    printer = PlainPrinter(lines.append, lines.append)
    for envelope in conversation(OPENED, *(progress(n, scored=n) for n in range(1, 8)), SUMMED, FINISHED):
        printer.hear(envelope)
    told = [line.strip() for line in lines]
    assert told[2] == "jud_1: 8 verdicts on 2 items of data set s@1 by sim/judge (simulated)"
    assert [line.partition(" verdicts")[0] for line in told[3:6]] == ["2 of 8", "4 of 8", "6 of 8"]
    assert told[6] == "partial · 8 of 8 verdicts · 6 scored, 2 timed out · $0.05 · 3.0 s: Two were late."


def test_json_lines_change_the_one_call_as_progress_comes() -> None:
    lines = [json.loads(line) for line in streamed(conversation(OPENED, progress(4, scored=4), ended=False))]
    assert lines[-1]["set"]["judging"]["verdicts"] == 4
    assert [line["judging"] for line in lines if line["type"] == "call"] == [None]


def test_a_block_shows_it_moving_and_never_a_mark_that_a_terminal_obeys() -> None:
    plan = event_pb2.JudgementPlan(items=2, judges=["sim/\x1b[31mred"], verdicts=8)
    opened = event_pb2.Event(sequence=1, run_opened=event_pb2.RunOpened(run_id="jud_1", judgement=plan))
    view = seen(conversation(opened, progress(4, scored=4), ended=False))
    block = Block(next(entry for entry in view.entries if isinstance(entry, Call)))
    lines = [line.text for line in block.draw(100, ink_of(DARK), 0)]
    assert lines[0].startswith("▸ judge · 4 of 8 verdicts · 4 scored · $0.02")
    assert "2 items" in lines[1]
    assert not any("\x1b" in line for line in lines)
