from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from tests.tui import story

from whet.v1 import event_pb2
from whet_agent.conversation import CANCELLED
from whet_agent.events import (
    EXPIRED,
    ApprovalAsked,
    ApprovalDecided,
    AssistantSaid,
    Compacted,
    ContextUsed,
    Envelope,
    Expanded,
    Happening,
    MindSaid,
    ModeChanged,
    Notice,
    Renamed,
    Rewound,
    RunHeard,
    SessionOpened,
    Spent,
    Steered,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
    Withdrawn,
    is_live,
)
from whet_tui.entries import Answer, Call, CallState, Fanout, FanoutState, LaneState, Note, Said
from whet_tui.lanes import _HEARD, hear
from whet_tui.view import _APPLIED, View

KEY = "ses/1/c1"
CHANGED = '{"spec": {"prompt": "shorter"}}'


def conversation(events: Sequence[event_pb2.Event]) -> list[Happening]:
    """Everything that can be heard: a turn that thinks aloud, is steered, asks for an approval that is edited and fans
    out, a second one that is cancelled, one that is taken back, one that fails, and one that the person goes back over.
    """
    words = "I shall ask three models. 三つの模型 \U0001f642"
    return [
        SessionOpened(session_id="ses", mind="mind", server="here", panel=("a/b",)),
        ModeChanged(mode="allowance", allowance_nanos=5),
        UserSaid(turn=1, text="What is a monad?"),
        *(MindSaid(turn=1, step=1, attempt=1, offset=at, text=piece) for at, piece in story.pieces("I will fail", 4)),
        *(MindSaid(turn=1, step=1, attempt=2, offset=at, text=piece) for at, piece in story.pieces(words, 5)),
        AssistantSaid(turn=1, step=1, text=words, author="mind"),
        ToolAsked(turn=1, key=KEY, tool="fanout", arguments_json="{}"),
        asked("apr_1", turn=1, key=KEY),
        ApprovalDecided(turn=1, key=KEY, approval_id="apr_1", granted=False, arguments_json=CHANGED),
        ToolAsked(turn=1, key=KEY, tool="fanout", arguments_json=CHANGED),
        asked("apr_2", turn=1, key=KEY),
        Steered(turn=1, number=1, text="Briefly."),
        ApprovalDecided(turn=1, key=KEY, approval_id="apr_2", granted=True),
        *(RunHeard(turn=1, key=KEY, run_id=story.RUN, event=event) for event in events),
        UserSaid(turn=2, text="And a functor?"),
        UserSaid(turn=3, text="And an arrow?"),
        Withdrawn(turn=3),
        ContextUsed(tokens=900, window=1000),
        ToolAnswered(turn=1, key=KEY, tool="fanout", ok=True, text="told", run_id=story.RUN),
        AssistantSaid(turn=1, step=2, text=story.ANSWER, author="mind", run_id=story.RUN),
        Spent(settled=5, unknown=1, reserved=0, input_tokens=3, output_tokens=4),
        TurnEnded(turn=1, state="done"),
        Notice(level="info", text="by the way"),
        MindSaid(turn=2, step=1, attempt=1, offset=0, text="A fun"),
        ToolAsked(turn=2, key="ses/2/c1", tool="list_fanouts", arguments_json="{}"),
        TurnEnded(turn=2, state="cancelled"),
        *afterwards(),
    ]


def afterwards() -> list[Happening]:
    """Compacted and read whole again, then turns that the person goes back over while another waits."""
    return [
        Renamed(title="Monads"),
        Compacted(upto=1, summary="They spoke of monads.", tokens_before=900, tokens_after=90),
        Expanded(),
        UserSaid(turn=4, text="Fail, please."),
        TurnEnded(turn=4, state="failed", failure="as asked"),
        UserSaid(turn=5, text="Change the cap."),
        *(MindSaid(turn=5, step=1, attempt=1, offset=at, text=piece) for at, piece in story.pieces("I shall", 3)),
        AssistantSaid(turn=5, step=1, text="I shall", author="mind"),
        ToolAsked(turn=5, key="ses/5/c1", tool="put_cap", arguments_json="{}"),
        asked("apr_3", turn=5, key="ses/5/c1"),
        UserSaid(turn=6, text="And another."),
        TurnEnded(turn=5, state="cancelled"),
        *(MindSaid(turn=6, step=1, attempt=1, offset=at, text=piece) for at, piece in story.pieces("Another", 3)),
        TurnEnded(turn=6, state="cancelled"),
        Rewound(turn=5, thread=1),
        UserSaid(turn=7, text="Leave the cap alone."),
        *(MindSaid(turn=7, step=1, attempt=1, offset=at, text=piece) for at, piece in story.pieces("Left alone.", 4)),
        AssistantSaid(turn=7, step=1, text="Left alone.", author="mind"),
        TurnEnded(turn=7, state="done"),
    ]


def asked(approval_id: str, *, turn: int, key: str) -> ApprovalAsked:
    return ApprovalAsked(
        turn=turn,
        key=key,
        approval_id=approval_id,
        tool="fanout",
        summary="Ask several models",
        effect="spends",
        arguments_json="{}",
        digest="d" * 64,
        worst_cost_nanos=10,
        expires_at="12:00",
    )


def envelopes(happenings: Sequence[Happening]) -> list[Envelope]:
    sequence, numbered = 0, []
    for happening in happenings:
        live = is_live(happening)
        sequence += not live
        numbered.append(Envelope(sequence=0 if live else sequence, time_ns=0, happening=happening))
    return numbered


def seen(told: Sequence[Envelope]) -> View:
    view = View()
    for envelope in told:
        view.apply(envelope)
    return view


def with_pieces(events: Sequence[event_pb2.Event], size: int) -> list[event_pb2.Event]:
    """The same run with its deltas cut otherwise."""
    cut: list[event_pb2.Event] = []
    for event in events:
        kind = event.WhichOneof("payload")
        if kind not in {"branch_delta", "draft_delta"}:
            cut.append(event)
            continue
        delta = getattr(event, kind)
        for at, piece in story.pieces(delta.text, size):
            part = event_pb2.Event()
            part.CopyFrom(event)
            getattr(part, kind).offset, getattr(part, kind).text = delta.offset + at, piece
            cut.append(part)
    return cut


TOLD = envelopes(conversation(list(story.fanout())))
ENDED = seen(TOLD)


@given(st.data())
def test_hearing_any_stretch_again_in_order_changes_nothing(data: st.DataObject) -> None:
    told = list(TOLD)
    for _ in range(data.draw(st.integers(1, 4))):
        cut = data.draw(st.integers(1, len(told)))
        back = data.draw(st.integers(0, cut - 1))
        told = [*told[:cut], *told[back:]]
    assert seen(told) == ENDED


@given(st.integers(1, 40))
def test_however_the_texts_are_cut_the_view_ends_the_same(size: int) -> None:
    assert seen(envelopes(conversation(with_pieces(list(story.fanout()), size)))) == ENDED


@given(st.sets(st.integers(0, len(TOLD) - 1)))
def test_whatever_live_events_are_lost_the_view_ends_the_same(lost: set[int]) -> None:
    told = [envelope for place, envelope in enumerate(TOLD) if envelope.sequence or place not in lost]
    assert durable(seen(told)) == durable(ENDED)


@given(st.data())
def test_whoever_joins_late_or_again_is_told_the_journal_and_ends_where_everybody_does(data: st.DataObject) -> None:
    now = data.draw(st.integers(0, len(TOLD)))
    heard = data.draw(st.integers(0, now))
    has = TOLD[heard - 1].sequence if heard else 0
    since = data.draw(st.integers(0, has))  # what it surely has may be less than it has
    replayed = [envelope for envelope in TOLD[:now] if envelope.sequence > since]
    view = seen([*TOLD[:heard], *replayed, *TOLD[now:]])
    assert durable(view) == durable(ENDED)


def durable(view: View) -> tuple[object, ...]:
    """The view without what only live events tell: the words of a step that was cancelled."""
    entries = [entry for entry in view.entries if entry.key != "answer/2/1"]
    return entries, view.status, view.cards, view.turns, view.waiting, view.gone, view.rewinds


@given(st.integers(1, len(TOLD)))
def test_what_apply_returns_is_exactly_what_changed(cut: int) -> None:
    view = seen(TOLD[: cut - 1])
    before = {entry.key: repr(entry) for entry in view.entries}
    changed = view.apply(TOLD[cut - 1])
    after = {entry.key: repr(entry) for entry in view.entries}
    assert {key for key, entry in after.items() if before.get(key) != entry} <= {entry.key for entry in changed}


def test_a_conversation_becomes_entries_in_their_order() -> None:
    kinds = [type(entry) for entry in ENDED.entries]
    turn_1, turn_2, turn_4 = [Said, Answer, Call, Said, Answer], [Said, Note, Answer, Call, Note], [Said, Note]
    assert kinds == [*turn_1, *turn_2, Note, Note, *turn_4, Said, Answer]
    call = ENDED.entries[2]
    assert isinstance(call, Call)
    assert (call.tool, call.state, call.run_id) == ("fanout", CallState.DONE, story.RUN)
    assert ENDED.status.money.unknown == 1
    assert not ENDED.busy


def test_a_failed_attempt_of_the_mind_leaves_no_word() -> None:
    answer = ENDED.find("answer/1/1")
    assert isinstance(answer, Answer)
    assert answer.text.startswith("I shall ask")


def test_a_message_sent_while_a_turn_runs_waits_below() -> None:
    told = TOLD[: next(place for place, e in enumerate(TOLD) if isinstance(e.happening, TurnEnded))]
    view = seen(told)
    assert [said.text for said in view.waiting] == ["And a functor?"]
    assert view.find("said/2") is None
    assert ENDED.find("said/2") is not None


def test_words_that_became_a_message_keep_their_place_and_are_found_by_both_turns() -> None:
    told: list[Happening] = [
        UserSaid(turn=1, text="go"),
        UserSaid(turn=2, text="and then"),
        Steered(turn=1, number=1, text="shorter"),
        UserSaid(turn=3, text="shorter", steered="1/1"),
        TurnEnded(turn=1, state="failed", failure="no mind"),
        TurnEnded(turn=2, state="done"),
        AssistantSaid(turn=3, step=1, text="short", author="mind"),
    ]
    view = seen(envelopes(told))
    said = [entry for entry in view.entries if isinstance(entry, Said)]
    assert [(entry.text, entry.turn, entry.steering) for entry in said] == [
        ("go", 1, False),
        ("shorter", 3, False),
        ("and then", 2, False),
    ]
    assert view.find("said/3") is said[1]
    assert (view.turns, view.waiting) == ([3], [])
    back = seen(envelopes([*told, Rewound(turn=3, thread=1)]))
    assert [entry.text for entry in back.entries if isinstance(entry, Said)] == ["go", "and then"]
    further = seen(envelopes([*told, Rewound(turn=4, thread=1), Rewound(turn=2, thread=2)]))
    assert further.find("said/3") is None
    assert [entry.text for entry in further.entries if isinstance(entry, Said)] == ["go"]


def test_a_call_that_was_answered_asks_no_more() -> None:
    told: list[Happening] = [
        asked("apr_1", turn=1, key=KEY),
        ToolAnswered(turn=1, key=KEY, tool="put_cap", ok=True, text="done"),
    ]
    assert seen(envelopes(told)).cards == {}


def test_an_answer_that_its_run_shows_already_is_marked_as_quoted() -> None:
    answer = ENDED.find("answer/1/2")
    assert isinstance(answer, Answer)
    assert answer.quoted
    alone = seen(envelopes([AssistantSaid(turn=1, step=1, text="x", author="mind", run_id="fan_elsewhere")]))
    assert not alone.entries[0].quoted  # type: ignore[union-attr]  # it is the answer


def test_an_expired_card_goes_and_its_call_is_not_rejected() -> None:
    opening: list[Happening] = [UserSaid(turn=1, text="x"), asked("apr_1", turn=1, key="k")]
    gone = ApprovalDecided(turn=1, key="k", approval_id="apr_1", granted=False, reason=EXPIRED)
    view = seen(envelopes([*opening, gone]))
    assert not view.cards
    call = view.find("call/k")
    assert isinstance(call, Call)
    assert call.state is CallState.RUNNING


def test_the_run_knows_who_gave_its_answer_and_a_repeated_result_is_known() -> None:
    call = next(entry for entry in ENDED.entries if isinstance(entry, Call) and entry.fanout is not None)
    assert call.fanout is not None
    assert call.fanout.author == "mind"
    told: list[Happening] = [
        UserSaid(turn=1, text="/caps"),
        ToolAsked(turn=1, key="k", tool="list_caps", arguments_json="{}"),
        ToolAnswered(turn=1, key="k", tool="list_caps", ok=True, text="none"),
        AssistantSaid(turn=1, step=2, text="none", author="offline planner"),
    ]
    listed = seen(envelopes(told)).find("call/k")
    assert isinstance(listed, Call)
    assert listed.repeated


def test_what_the_person_went_back_over_is_gone_and_comes_back_by_nothing_that_is_still_told() -> None:
    assert [entry.text for entry in ENDED.entries if isinstance(entry, Said)][-2:] == [
        "Fail, please.",
        "Leave the cap alone.",
    ]
    view = seen(TOLD)
    late = Envelope(sequence=0, time_ns=0, happening=MindSaid(turn=6, step=1, attempt=9, offset=0, text="late"))
    assert view.apply(late) == []
    assert view == ENDED


def test_a_call_that_was_edited_goes_on_with_what_the_person_wrote() -> None:
    call = ENDED.find(f"call/{KEY}")
    assert isinstance(call, Call)
    assert (call.state, call.arguments_json) == (CallState.DONE, CHANGED)


def test_a_card_stays_until_it_is_decided_and_goes_with_its_turn() -> None:
    opening: list[Happening] = [
        UserSaid(turn=1, text="x"),
        asked("apr_1", turn=1, key="k"),
        asked("apr_2", turn=1, key="l"),
    ]
    view = seen(envelopes(opening))
    assert list(view.cards) == ["apr_1", "apr_2"]
    decided = ApprovalDecided(turn=1, key="k", approval_id="apr_1", granted=False)
    view = seen(envelopes([*opening, decided]))
    assert list(view.cards) == ["apr_2"]
    assert view.find("call/k").state is CallState.REJECTED  # type: ignore[union-attr]  # it is the call
    assert not seen(envelopes([*opening, decided, TurnEnded(turn=1, state="failed", failure="no")])).cards


def test_a_fanout_is_folded_to_its_lanes_draft_and_end() -> None:
    fanout = Fanout()
    for event in story.fanout():
        hear(fanout, event)
    assert [lane.state for lane in fanout.lanes.values()] == [LaneState.DONE, LaneState.DONE, LaneState.PARTIAL]
    assert [lane.simulated for lane in fanout.lanes.values()] == [False, True, True]
    assert fanout.state is FanoutState.PARTIAL
    assert fanout.synthesis is not None
    assert fanout.synthesis.text == story.ANSWER
    assert fanout.money.unknown == 500_000


def test_a_run_whose_call_was_cancelled_is_said_not_to_be_followed() -> None:
    events = list(story.fanout())[:9]
    told: list[Happening] = [UserSaid(turn=1, text="x"), ToolAsked(turn=1, key=KEY, tool="fanout", arguments_json="{}")]
    told += [RunHeard(turn=1, key=KEY, run_id=story.RUN, event=event) for event in events]
    told.append(ToolAnswered(turn=1, key=KEY, tool="fanout", ok=False, text=CANCELLED))
    call = seen(envelopes(told)).entries[1]
    assert isinstance(call, Call)
    assert call.state is CallState.CANCELLED
    assert call.fanout is not None
    assert call.fanout.left


def test_a_new_revision_keeps_the_words_of_the_last_one_to_look_at() -> None:
    fanout = Fanout()
    for event in story.fanout():
        hear(fanout, event)
        if event.WhichOneof("payload") == "draft_started" and event.draft_started.revision == 2:
            break
    assert fanout.draft is not None
    assert (fanout.draft.text, fanout.draft.earlier) == ("", "A monad chains steps.")
    assert fanout.draft.simulated


def test_a_watcher_that_attaches_in_the_middle_waits_for_what_it_missed() -> None:
    fanout = Fanout()
    teller = story.Teller()
    hear(fanout, story.opened(teller))
    hear(fanout, teller.live(branch_delta=event_pb2.BranchDelta(branch_id="b1", offset=7, text="nad")))
    assert fanout.lanes["b1"].text == ""
    hear(fanout, teller.live(branch_delta=event_pb2.BranchDelta(branch_id="b1", offset=0, text="A monad")))
    hear(fanout, teller.live(branch_delta=event_pb2.BranchDelta(branch_id="b1", offset=5, text="ad ch")))
    assert fanout.lanes["b1"].text == "A monad ch"


def test_every_payload_and_every_happening_is_folded() -> None:
    judged = {
        "judgement_progress",
        "judgement_summed",
        "audit_reported",
        "verdicts_reached",
    }  # see tests/tui/test_judged.py
    swept = {
        "trial_started",
        "trial_finished",
        "sweep_controlled",
        "sweep_progress",
        "sweep_concluded",
        "cases_finished",  # left out of what is followed
    }  # see tests/tui/test_swept.py
    kept = {"dataset_stored", "seal_opened"}  # runs that nobody follows: the call's own answer tells them
    payloads = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert set(_HEARD) | judged | swept | kept == payloads
    assert set(_APPLIED) == set(get_args(Happening))


def test_journalled_envelopes_are_known_by_their_number() -> None:
    view = seen(TOLD)
    assert view.apply(replace(TOLD[0], sequence=1)) == []
    assert view.heard == max(envelope.sequence for envelope in TOLD)
