from collections.abc import Sequence

import pytest
from tests.server.fanout.panel import BROKEN, COST, HOME, Answer, Script, ask, of, open_room

from whet_server.fanout.plan import MAX_DRAFTS
from whet_server.fanout.spec import SynthesisMode
from whet_server.fanout.synthesis import OVERTAKEN
from whet_server.llm.base import CallSpec
from whet_server.log.events import (
    BranchFinished,
    DraftDelta,
    DraftEnded,
    DraftStarted,
    Event,
    RunFinished,
    SynthesisFinished,
)
from whet_server.log.lifecycle import BranchState
from whet_server.values import RunState

DRAFT = SynthesisMode.DRAFT


def synthesis(events: Sequence[Event]) -> SynthesisFinished:
    (finished,) = of(events, SynthesisFinished)
    return finished


def state(events: Sequence[Event]) -> RunState:
    return of(events, RunFinished)[0].state


def places(events: Sequence[Event], kind: type) -> list[int]:
    return [at for at, event in enumerate(events) if isinstance(event.payload, kind)]


async def test_the_first_draft_begins_before_the_last_branch_is_in() -> None:
    scripts: dict[str, Script] = {
        "a/x": Answer(text="Alpha is one."),
        "a/y": Answer(text="Beta is two."),
        "a/late": Answer(text="Gamma is three.", gate="late"),
        "d/m": Answer(text="Alpha is one."),
    }
    async with open_room(scripts) as room:
        run_id = await room.start(ask("a/x", "a/y", "a/late", mode=DRAFT, draft_by="d/m"))
        started = await room.seen(run_id, DraftStarted)
        assert set(started.branch_ids) == {"b1", "b2"}
        assert not started.final
        assert not started.reset
        room.panel.gate("late").set()
        events = await room.events(run_id)
    starts = of(events, DraftStarted)
    assert [start.revision for start in starts] == [1, 2]
    assert starts[1].reset
    assert starts[1].final
    assert set(starts[1].branch_ids) == {"b1", "b2", "b3"}
    assert synthesis(events).revision == 2
    assert synthesis(events).branch_ids == ("b1", "b2", "b3")
    assert state(events) is RunState.SUCCEEDED


async def test_a_draft_that_has_seen_everything_is_the_final_without_another_call() -> None:
    async with open_room({"a/x": Answer(), "d/m": Answer(text="The draft.")}) as room:
        events = await room.ask(ask("a/x", "a/x", mode=DRAFT, draft_by="d/m"))
        assert len(room.panel.asked_of("d/m")) == 1
    assert synthesis(events).text == "The draft."
    assert of(events, RunFinished)[0].totals.settled == 3 * COST


async def test_a_last_branch_that_fails_needs_no_further_draft() -> None:
    scripts: dict[str, Script] = {
        "a/x": Answer(),
        "a/bad": Answer(gate="late", failure=BROKEN),
        "d/m": Answer(text="The draft."),
    }
    async with open_room(scripts) as room:
        run_id = await room.start(ask("a/x", "a/x", "a/bad", mode=DRAFT, draft_by="d/m"))
        await room.seen(run_id, DraftEnded)
        room.panel.gate("late").set()
        events = await room.events(run_id)
        assert len(room.panel.asked_of("d/m")) == 1
    assert synthesis(events).state is BranchState.DONE
    assert synthesis(events).branch_ids == ("b1", "b2")
    assert state(events) is RunState.PARTIAL


async def test_the_last_branch_cuts_a_draft_off_that_has_not_seen_it() -> None:
    drafts = iter([Answer(text="The first draft.", middle="never"), Answer(text="The final draft.")])
    scripts: dict[str, Script] = {"a/x": Answer(), "a/late": Answer(gate="late"), "d/m": lambda _: next(drafts)}
    async with open_room(scripts) as room:
        run_id = await room.start(ask("a/x", "a/x", "a/late", mode=DRAFT, draft_by="d/m"))
        await room.seen(run_id, DraftDelta)
        room.panel.gate("late").set()
        events = await room.events(run_id)
    first, final = of(events, DraftEnded)
    assert first.state is BranchState.PARTIAL
    assert first.failure == OVERTAKEN
    assert first.totals.settled == COST
    assert final.text == synthesis(events).text == "The final draft."
    assert of(events, RunFinished)[0].totals.settled == 5 * COST


async def test_a_revision_begins_when_the_draft_ends_and_others_have_landed() -> None:
    prompts: list[str] = []

    def draft(spec: CallSpec) -> Answer:
        prompts.append(spec.messages[-1].content)
        number = len(prompts)
        return Answer(text=f"Draft number {number}.", middle="first" if number == 1 else "")

    scripts: dict[str, Script] = {
        "a/x": Answer(text="Early."),
        "a/mid": Answer(text="Middle.", gate="mid"),
        "a/late": Answer(text="Late.", gate="late"),
        "d/m": draft,
    }
    async with open_room(scripts) as room:
        run_id = await room.start(ask("a/x", "a/mid", "a/late", mode=DRAFT, draft_by="d/m", start_after=1))
        await room.seen(run_id, DraftDelta)
        room.panel.gate("mid").set()
        await room.seen(run_id, BranchFinished, lambda end: end.branch_id == "b2")
        room.panel.gate("first").set()
        await room.seen(run_id, DraftEnded, lambda end: end.revision == 2)
        room.panel.gate("late").set()
        events = await room.events(run_id)
    assert [start.branch_ids for start in of(events, DraftStarted)] == [("b1",), ("b1", "b2"), ("b1", "b2", "b3")]
    assert [start.reset for start in of(events, DraftStarted)] == [False, True, True]
    assert "Draft so far" not in prompts[0]
    assert "Draft number 1." in prompts[1]
    assert "Draft number 2." in prompts[2]
    assert "Late." in prompts[2]
    starts, finishes = places(events, DraftStarted), places(events, DraftEnded)
    assert starts[0] < finishes[0] < starts[1] < finishes[1] < starts[2] < finishes[2]


async def test_a_failing_synthesis_leaves_the_branches_intact() -> None:
    async with open_room({"a/x": Answer(text="Here."), "d/m": Answer(failure=BROKEN)}) as room:
        events = await room.ask(ask("a/x", "a/x", mode=DRAFT, draft_by="d/m"))
    assert synthesis(events).state is BranchState.FAILED
    assert synthesis(events).failure == BROKEN
    assert [end.text for end in of(events, BranchFinished)] == ["Here.", "Here."]
    assert state(events) is RunState.PARTIAL


async def test_after_a_failed_draft_only_the_final_is_tried() -> None:
    drafts = iter([Answer(failure=BROKEN), Answer(text="It works now.")])
    scripts: dict[str, Script] = {
        "a/x": Answer(),
        "a/mid": Answer(gate="mid"),
        "a/late": Answer(gate="late"),
        "d/m": lambda _: next(drafts),
    }
    async with open_room(scripts) as room:
        run_id = await room.start(ask("a/x", "a/x", "a/mid", "a/late", mode=DRAFT, draft_by="d/m"))
        await room.seen(run_id, DraftEnded)
        room.panel.gate("mid").set()
        await room.seen(run_id, BranchFinished, lambda end: end.branch_id == "b3")
        room.panel.gate("late").set()
        events = await room.events(run_id)
    assert [start.final for start in of(events, DraftStarted)] == [False, True]
    assert synthesis(events).text == "It works now."
    assert state(events) is RunState.SUCCEEDED


async def test_half_a_final_is_partial_and_never_an_answer() -> None:
    async with open_room({"a/x": Answer(), "d/m": Answer(text="abcd", middle="go", failure=BROKEN)}) as room:
        room.panel.gate("go").set()
        events = await room.ask(ask("a/x", "a/x", mode=DRAFT, draft_by="d/m"))
    assert synthesis(events).state is BranchState.PARTIAL
    assert synthesis(events).text == "ab"
    assert state(events) is RunState.PARTIAL


async def test_with_fewer_answers_than_the_start_needs_the_draft_waits_for_the_end() -> None:
    scripts: dict[str, Script] = {"a/x": Answer(), "a/bad": Answer(failure=BROKEN), "d/m": Answer(text="All I have.")}
    async with open_room(scripts) as room:
        events = await room.ask(ask("a/x", "a/bad", "a/bad", mode=DRAFT, draft_by="d/m", start_after=3))
    (start,) = of(events, DraftStarted)
    assert start.final
    assert start.branch_ids == ("b1",)
    assert synthesis(events).state is BranchState.DONE


async def test_cancelling_while_a_draft_streams_cuts_it_off() -> None:
    async with open_room({"a/x": Answer(), "d/m": Answer(text="abcd", middle="never")}) as room:
        run_id = await room.start(ask("a/x", "a/x", mode=DRAFT, draft_by="d/m"))
        await room.seen(run_id, DraftDelta)
        view = await room.fanouts.cancel(HOME, run_id)
    assert view.run.state is RunState.CANCELLED
    assert [draft.state for draft in view.drafts] == [BranchState.PARTIAL]
    assert view.synthesis is not None
    assert view.synthesis.state is BranchState.CANCELLED
    assert view.run.totals.settled == 3 * COST


async def test_the_number_of_drafts_is_bounded() -> None:
    models = [f"a/{at}" for at in range(MAX_DRAFTS + 5)]
    scripts: dict[str, Script] = {model: Answer(gate=model) for model in models}
    async with open_room(scripts | {"d/m": Answer(text="A draft.")}) as room:
        run_id = await room.start(ask(*models, mode=DRAFT, draft_by="d/m", start_after=1))
        for landed, model in enumerate(models[:-1], start=1):
            room.panel.gate(model).set()
            drafts = min(landed, MAX_DRAFTS - 1)
            await room.panel.until(lambda calls=landed + drafts: len(room.panel.ended) == calls)  # type: ignore[misc]
        room.panel.gate(models[-1]).set()
        events = await room.events(run_id)
    assert len(of(events, DraftStarted)) == MAX_DRAFTS
    assert len(synthesis(events).branch_ids) == len(models)


@pytest.mark.parametrize(("branch", "draft"), [("sim/x", "d/m"), ("a/x", "sim/d")])
async def test_a_synthesis_that_stands_on_simulated_text_says_so(branch: str, draft: str) -> None:
    scripts: dict[str, Script] = {
        model: Answer(simulated=model.startswith("sim/")) for model in ("a/x", "sim/x", "d/m", "sim/d")
    }
    async with open_room(scripts) as room:
        events = await room.ask(ask("a/x", branch, mode=DRAFT, draft_by=draft))
    assert synthesis(events).simulated


async def test_first_takes_the_answer_that_came_first() -> None:
    async with open_room({"a/slow": Answer(text="Slow.", gate="go"), "a/fast": Answer(text="Fast.")}) as room:
        run_id = await room.start(ask("a/slow", "a/fast", mode=SynthesisMode.FIRST))
        await room.seen(run_id, BranchFinished)
        room.panel.gate("go").set()
        events = await room.events(run_id)
    assert synthesis(events).text == "Fast."
    assert synthesis(events).revision == 0
    assert synthesis(events).branch_ids == ("b1", "b2")


async def test_vote_counts_answers_in_other_dress_together() -> None:
    scripts: dict[str, Script] = {
        "a/x": Answer(text="**Lyon**"),
        "a/y": Answer(text="The answer is Paris."),
        "a/z": Answer(text="paris"),
    }
    async with open_room(scripts) as room:
        events = await room.ask(ask("a/x", "a/y", "a/z", mode=SynthesisMode.VOTE))
    finished = synthesis(events)
    assert finished.text == "The answer is Paris."
    assert [(vote.answer, vote.votes, vote.branch_ids) for vote in finished.votes] == [
        ("paris", 2, ("b2", "b3")),
        ("lyon", 1, ("b1",)),
    ]
    assert [pair.kind for pair in finished.contradictions] == ["choice"]


async def test_the_final_names_the_spans_it_stands_on() -> None:
    scripts: dict[str, Script] = {
        "a/x": Answer(text="Sure! A monad wraps a value. It has a bind operation."),
        "a/y": Answer(text="Monads come from category theory."),
        "d/m": Answer(text="A monad wraps a value and has a bind operation. It was invented on Mars."),
    }
    async with open_room(scripts) as room:
        events = await room.ask(ask("a/x", "a/y", mode=DRAFT, draft_by="d/m"))
    first, second = synthesis(events).sentences
    texts = {end.branch_id: end.text for end in of(events, BranchFinished)}
    assert [texts[span.branch_id][span.start : span.end] for span in first.support] == [
        "A monad wraps a value.",
        "It has a bind operation.",
    ]
    assert not second.support
    assert "Monads come from category theory." in [claim.text for claim in synthesis(events).sole_claims]
