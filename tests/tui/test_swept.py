"""How far a sweep is and what it found, as the chat, plain lines and JSON lines show it."""

import json

from google.protobuf.duration_pb2 import Duration
from tests.tui.test_stream_json import streamed
from tests.tui.test_view import seen

from whet.v1 import event_pb2, sweeping_pb2, value_pb2
from whet_agent.events import Envelope, Happening, RunHeard, ToolAnswered, ToolAsked, TurnEnded, UserSaid
from whet_tui.entries import Call, FanoutState, Sweeping
from whet_tui.plain import PlainPrinter
from whet_tui.swept import best_words, progress_words
from whet_tui.themes import DARK
from whet_tui.widgets.block import Block
from whet_tui.widgets.ink import ink_of

KEY = "ses_1/1/1.0"
CENT = 10_000_000
Event = event_pb2.Event
PLAN = sweeping_pb2.SweepPlan(
    trials=30,
    cases=60,
    origin="data set support@1, dev",
    space=[sweeping_pb2.SearchDimension(name="answer.temperature")],
    budget=sweeping_pb2.Budget(money=value_pb2.Money(nanos=100 * CENT)),
    simulated=True,
)
OPENED = Event(sequence=1, run_opened=event_pb2.RunOpened(run_id="swp_1", sweep=PLAN))
CONCLUDED = Event(
    sequence=8,
    sweep_concluded=event_pb2.SweepConcluded(
        result=sweeping_pb2.SweepResult(
            verdict=sweeping_pb2.SWEEP_VERDICT_BETTER,
            finding="Better: \x1b[31mtrial 7.",
            best=7,
            comparisons=29,
            end=sweeping_pb2.SWEEP_END_TRIALS,
        )
    ),
)
FINISHED = Event(
    sequence=9,
    run_finished=event_pb2.RunFinished(state=event_pb2.RUN_STATE_SUCCEEDED, latency=Duration(seconds=3700)),
)


def progress(ended: int, best: int = 0) -> Event:
    return Event(
        sweep_progress=event_pb2.SweepProgress(
            ended=ended,
            pruned=ended // 3,
            answers=ended * 60,
            best=best,
            best_value=0.5 + best / 100,
            totals=value_pb2.Totals(settled=value_pb2.Money(nanos=ended * CENT)),
            money_left=value_pb2.Money(nanos=(100 - ended) * CENT),
            time_left=Duration(seconds=90),
        )
    )


def conversation(*events: Event, ended: bool = True) -> list[Envelope]:
    told: list[Happening] = [
        UserSaid(turn=1, text="follow it"),
        ToolAsked(turn=1, key=KEY, tool="watch_sweep", arguments_json="{}"),
        *(RunHeard(turn=1, key=KEY, run_id="swp_1", event=event) for event in events),
    ]
    if ended:
        told += [ToolAnswered(turn=1, key=KEY, tool="watch_sweep", ok=True, text="Sweep swp_1", run_id="swp_1")]
        told += [TurnEnded(turn=1, state="done")]
    live = [isinstance(each, RunHeard) and not each.event.sequence for each in told]
    return [Envelope(sequence=0 if live[at] else at + 1, time_ns=at, happening=each) for at, each in enumerate(told)]


def sweep(*events: Event, ended: bool = True) -> Sweeping:
    call = next(entry for entry in seen(conversation(*events, ended=ended)).entries if isinstance(entry, Call))
    assert (call.fanout, call.judging) == (None, None)
    assert call.sweep is not None
    return call.sweep


def drawn(*events: Event, ended: bool = True) -> list[str]:
    call = next(entry for entry in seen(conversation(*events, ended=ended)).entries if isinstance(entry, Call))
    return [line.text.rstrip() for line in Block(call).draw(100, ink_of(DARK), 0)]


def test_progress_is_told_in_one_line_with_what_is_left() -> None:
    found = sweep(OPENED, progress(12, best=7), ended=False)
    assert progress_words(found) == "12 of 30 trials · 4 stopped early · $0.12 · $0.88 left · 1m30s to go"
    assert best_words(found) == "best so far: trial 7, quality 0.570"


def test_what_is_told_again_after_a_cut_leads_nowhere_back() -> None:
    assert sweep(OPENED, progress(12), progress(3), OPENED, ended=False).trials == 12


def test_the_chat_shows_a_bar_while_it_runs_and_the_verdict_at_its_end_without_the_servers_escapes() -> None:
    running = "\n".join(drawn(OPENED, progress(15, best=7), ended=False))
    assert "━" * 20 + "─" * 20 in running
    ended = "\n".join(drawn(OPENED, progress(15), CONCLUDED, FINISHED))
    assert "━" not in ended
    assert "succeeded · 30 of 30 trials" in ended
    assert "1h01m" in ended
    assert "trial 7." in ended
    assert "\x1b" not in ended


def test_a_sweep_that_is_no_longer_followed_says_that_it_goes_on() -> None:
    assert any("It goes on by itself. /get_sweep swp_1" in line for line in drawn(OPENED, progress(3)))


def test_who_joins_late_without_the_opening_knows_a_sweep_by_its_progress() -> None:
    assert sweep(progress(3), ended=False).trials == 3


def test_plain_lines_tell_each_new_best_and_nothing_twice() -> None:
    lines: list[str] = []
    printer = PlainPrinter(lines.append, lines.append)
    steered = Event(
        sequence=3,
        sweep_controlled=event_pb2.SweepControlled(action=event_pb2.SWEEP_ACTION_PAUSE, role="person"),
    )
    for envelope in conversation(OPENED, progress(1), progress(2), steered, progress(9, best=7), CONCLUDED, FINISHED):
        printer.hear(envelope)
    told = [line.strip() for line in lines]
    assert told[2] == (
        "swp_1: up to 30 trials of 60 cases, data set support@1, dev, over answer.temperature, "
        "at most $1.00 (simulated)"
    )
    assert [line.partition(" · ")[0] for line in told[3:-2]] == [
        "best so far: the baseline, quality 0.500",
        "pause by the person",
        "best so far: trial 7, quality 0.570",
    ]
    assert told[-2].startswith("succeeded · 30 of 30 trials")


def test_json_lines_tell_how_far_it_is() -> None:
    told = [json.loads(line) for line in streamed(conversation(OPENED, progress(12, best=7), CONCLUDED, FINISHED))]
    changes = [line["set"]["sweep"] for line in told if "sweep" in line.get("set", {})]
    assert any(change.get("trials") == 12 for change in changes)
    assert any(change.get("verdict") == "better" for change in changes)
    assert sweep(OPENED, FINISHED).state is FanoutState.SUCCEEDED


def test_a_cancelled_sweep_has_as_many_trials_as_ended() -> None:
    result = sweeping_pb2.SweepResult(comparisons=29, end=sweeping_pb2.SWEEP_END_CANCELLED)
    concluded = Event(sequence=8, sweep_concluded=event_pb2.SweepConcluded(result=result))
    assert sweep(OPENED, progress(4), concluded).trials == 4
