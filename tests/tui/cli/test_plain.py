from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from whet.v1 import event_pb2, value_pb2
from whet_agent.events import (
    ApprovalAsked,
    AssistantSaid,
    Envelope,
    Happening,
    MindSaid,
    Notice,
    RunHeard,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
)
from whet_tui.entries import Fanout
from whet_tui.lanes import hear
from whet_tui.plain import FanoutPrinter, PlainPrinter, answer_lines

RUN = "fan_1"
TOTALS = value_pb2.Totals(settled=value_pb2.Money(nanos=1_200_000), unknown=value_pb2.Money(nanos=20_000_000))


def event(**payload: object) -> event_pb2.Event:
    return event_pb2.Event(**payload)  # type: ignore[arg-type]  # the payload's name is the parameter


def branch(
    number: int, text: str, *, state: "event_pb2.BranchState.ValueType" = event_pb2.BRANCH_STATE_DONE
) -> event_pb2.Event:
    finished = event_pb2.BranchFinished(
        branch_id=f"b{number}",
        state=state,
        text=text,
        usage=value_pb2.Usage(input_tokens=3, output_tokens=5),
        totals=TOTALS,
        latency=Duration(seconds=1, nanos=200_000_000),
        simulated=number == 2,
    )
    if state != event_pb2.BRANCH_STATE_DONE:
        finished.failure.message = "The provider is overloaded."
    return event(branch_finished=finished)


def story() -> list[event_pb2.Event]:
    plans = [
        event_pb2.BranchPlan(branch_id="b1", model="local/smollm2", sample=1),
        event_pb2.BranchPlan(branch_id="b2", model="sim/fast", sample=2, simulated=True),
    ]
    synthesis = event_pb2.SynthesisFinished(
        state=event_pb2.BRANCH_STATE_DONE,
        text="It is green. It is round.",
        sentences=[
            event_pb2.SupportedSentence(start=0, end=12, support=[event_pb2.Span(branch_id="b2", end=3)]),
            event_pb2.SupportedSentence(start=13, end=25),
        ],
        sole_claims=[event_pb2.SoleClaim(span=event_pb2.Span(branch_id="b1"), text="It is old.")],
        simulated=True,
    )
    return [
        event(run_opened=event_pb2.RunOpened(run_id=RUN, branches=plans)),
        event(branch_delta=event_pb2.BranchDelta(branch_id="b2", text="It is")),
        branch(2, "It is green."),
        event(draft_started=event_pb2.DraftStarted(revision=1, branch_ids=["b2"], model="sim/fast")),
        branch(1, "", state=event_pb2.BRANCH_STATE_FAILED),
        event(synthesis_finished=synthesis),
        event(
            run_finished=event_pb2.RunFinished(
                state=event_pb2.RUN_STATE_PARTIAL, totals=TOTALS, latency=Duration(seconds=2)
            )
        ),
    ]


def told(happenings: Iterable[Happening]) -> tuple[list[str], list[str]]:
    aside: list[str] = []
    answer: list[str] = []
    printer = PlainPrinter(aside.append, answer.append)
    for sequence, happening in enumerate(happenings, start=1):
        printer.hear(Envelope(sequence=sequence, time_ns=0, happening=happening))
    return aside, answer


def test_a_fanout_is_told_as_it_happens_and_nothing_twice() -> None:
    fanout, printer = Fanout(), FanoutPrinter()
    lines: list[str] = []
    for happened in story():
        for _ in range(2):
            hear(fanout, happened)
            lines += printer.lines(fanout)
    assert lines == [
        "fan_1: 2 branches",
        "[2] sim/fast #2 (simulated)  done, 1.2 s, 3+5 tokens, $0.0012 + $0.02 unknown  It is green.",
        "draft 1 by sim/fast from 1 branch (simulated)",
        "[1] local/smollm2  failed, 1.2 s, 3+5 tokens, $0.0012 + $0.02 unknown  The provider is overloaded.",
        "partial in 2.0 s, 1 of 2 branches, $0.0012 + $0.02 unknown",
    ]


def test_the_answer_names_its_sources_and_what_nobody_says() -> None:
    fanout = Fanout()
    for happened in story():
        hear(fanout, happened)
    assert list(answer_lines(fanout)) == [
        "It is green.² It is round.⁰",
        "(⁰: no branch says this)",
        "only [1] says: It is old.",
    ]


def test_what_has_no_price_is_not_told_as_free() -> None:
    opened, *_, finished = story()
    finished.run_finished.totals.CopyFrom(value_pb2.Totals(unpriced=2))
    fanout = Fanout()
    for happened in (opened, finished):
        hear(fanout, happened)
    assert list(FanoutPrinter().lines(fanout))[-1] == "partial in 2.0 s, 0 of 2 branches, price unknown"


def test_without_a_synthesis_every_branch_is_told() -> None:
    fanout = Fanout()
    for happened in story()[:3]:
        hear(fanout, happened)
    assert list(answer_lines(fanout)) == ["[2] sim/fast (simulated)\nIt is green."]


def test_a_long_message_is_not_told_again_whole() -> None:
    aside, _ = told([UserSaid(turn=1, text="x" * 2_000_000)])
    assert aside == [f"> {'x' * 400}… (2,000,000 characters)"]


def test_tables_are_lined_up_and_headings_lose_their_marks() -> None:
    text = (
        "**caps**\n\n| cap | limit |\n| --- | --- |\n| day | $5.00 |\n| a \\| b | $10 |\n\n"
        "- a **strong** word\n| no table |"
    )
    _, answer = told([AssistantSaid(turn=1, step=1, text=text, author="planner"), TurnEnded(turn=1, state="done")])
    assert answer == [
        "caps:\n\ncap    limit\nday    $5.00\na | b  $10\n\n- a **strong** word\n| no table |",
    ]


def test_a_table_inside_code_is_code() -> None:
    text = "```\n| a | b |\n| --- | --- |\n```"
    _, answer = told([AssistantSaid(turn=1, step=1, text=text, author="mind"), TurnEnded(turn=1, state="done")])
    assert answer == [text]


def test_a_turn_is_told_with_its_answer_apart() -> None:
    aside, answer = told(
        [
            UserSaid(turn=1, text="what is it"),
            ToolAsked(turn=1, key="k", tool="fanout", arguments_json="{}"),
            *(RunHeard(turn=1, key="k", run_id=RUN, event=happened) for happened in story()),
            ToolAnswered(turn=1, key="k", tool="fanout", ok=True, text="...", run_id=RUN),
            MindSaid(turn=1, step=1, attempt=1, offset=0, text="It is"),
            AssistantSaid(turn=1, step=1, text="It is green. It is round.", author="offline planner", simulated=True),
            TurnEnded(turn=1, state="done"),
        ]
    )
    assert aside[:3] == ["> what is it", "* fanout", "  fan_1: 2 branches"]
    assert aside[-1] == "-- offline planner (simulated)"
    assert answer[0] == "It is green.² It is round.⁰"


def test_an_answer_in_the_minds_own_words_is_told_as_it_is() -> None:
    _, answer = told(
        [
            ToolAsked(turn=1, key="k", tool="fanout", arguments_json="{}"),
            *(RunHeard(turn=1, key="k", run_id=RUN, event=happened) for happened in story()),
            AssistantSaid(turn=1, step=1, text="Green, they say.", author="openai/x"),
        ]
    )
    assert answer == ["Green, they say."]


def test_what_waits_for_a_person_is_told_with_its_worst_cost() -> None:
    aside, _ = told(
        [
            ApprovalAsked(
                turn=1,
                key="k",
                approval_id="apr_1",
                tool="fanout",
                summary="Ask several models",
                effect="spends",
                arguments_json='{\n  "cap": {\n    "nanos": "5000000000"\n  }\n}',
                digest="d",
                worst_cost_nanos=2_000_000_000,
                expires_at="",
            )
        ]
    )
    assert aside == [
        "? fanout waits for your decision: Ask several models (spends, up to $2.00)",
        "  {",
        '    "cap": {',
        '      "nanos": "5000000000"   = $5.00',
        "    }",
        "  }",
    ]


def test_failures_and_notices_are_told() -> None:
    aside, answer = told(
        [
            UserSaid(turn=1, text="x"),
            ToolAsked(turn=1, key="k", tool="get_fanout", arguments_json="{}"),
            ToolAnswered(turn=1, key="k", tool="get_fanout", ok=False, text="There is no such run."),
            Notice(level="warning", text="connection lost"),
            TurnEnded(turn=1, state="failed", failure="Too many steps."),
        ]
    )
    assert aside[1:] == [
        "* get_fanout",
        "  There is no such run.",
        "warning: connection lost",
        "error: Too many steps.",
    ]
    assert answer == []


def test_no_text_reaches_the_terminals_control_sequences() -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jclear\u202etxt"
    aside, answer = told(
        [
            UserSaid(turn=1, text=evil),
            ToolAsked(turn=1, key="k", tool=evil, arguments_json="{}"),
            RunHeard(turn=1, key="k", run_id=RUN, event=story()[0]),
            RunHeard(turn=1, key="k", run_id=RUN, event=branch(2, evil)),
            RunHeard(turn=1, key="k", run_id=RUN, event=branch(1, evil, state=event_pb2.BRANCH_STATE_FAILED)),
            Notice(level="info", text=evil),
            AssistantSaid(turn=1, step=1, text=evil, author=evil),
        ]
    )
    assert not any(control in "".join(aside + answer) for control in "\x1b\x07\u202e")
