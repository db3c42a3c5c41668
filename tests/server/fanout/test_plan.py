import hashlib

import msgspec
import pytest
from tests.server.fanout.panel import HOME, ME, PRICE, Answer, Panel, Script, ask, of, open_room

from whet_server.errors import Draining, InvalidField, ModelNotFound, RunNotFound
from whet_server.fanout.check import MAX_BRANCHES
from whet_server.fanout.fanouts import FanoutDefaults
from whet_server.fanout.plan import MAX_DRAFTS
from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode, SynthesisSpec
from whet_server.ledger.prices import Price
from whet_server.log.events import RunOpened
from whet_server.values import BranchId, Message, ModelName, Nanos, Parameters, Speaker, Workspace

SCRIPTS: dict[str, Script] = {"a/x": Answer(), "a/y": Answer(), "d/m": Answer(text="A draft.")}


def changed(spec: FanoutSpec, **fields: object) -> FanoutSpec:
    return msgspec.structs.replace(spec, **fields)


def branch(**fields: object) -> tuple[BranchSpec, ...]:
    return (msgspec.structs.replace(BranchSpec(model=ModelName("a/x")), **fields),)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (changed(ask("a/x"), messages=()), "spec.prompt"),
        (ask("a/x", prompt=" \n "), "spec.prompt"),
        (
            changed(
                ask("a/x"),
                messages=(
                    Message(role=Speaker.USER, content="Hello"),
                    Message(role=Speaker.USER, content=""),
                ),
            ),
            "spec.messages[1].content",
        ),
        (ask(), "spec.models"),
        (ask("a/x", "a/x", "nonsense"), "spec.branches[2].model"),
        (changed(ask(), branches=branch(failover=("a/y", "/y"))), "spec.branches[0].failover[1]"),
        (changed(ask(), branches=branch(samples=0)), "spec.branches[0].samples"),
        (changed(ask(), branches=branch(samples=101)), "spec.branches[0].samples"),
        (changed(ask(), branches=branch(samples=100) * (MAX_BRANCHES // 100 + 1)), "spec.branches"),
        (
            changed(ask(), branches=branch(parameters=Parameters(temperature=3.0))),
            "spec.branches[0].parameters.temperature",
        ),
        (changed(ask("a/x"), parameters=Parameters(top_p=0.0)), "spec.parameters.top_p"),
        (changed(ask("a/x"), parameters=Parameters(max_tokens=0)), "spec.parameters.max_tokens"),
        (changed(ask("a/x"), parameters=Parameters(json_schema="{")), "spec.parameters.json_schema"),
        (changed(ask("a/x"), parameters=Parameters(json_schema="[]")), "spec.parameters.json_schema"),
        (ask("a/x", enough=2), "spec.finish.enough"),
        (ask("a/x", deadline=0.0), "spec.finish.deadline"),
        (ask("a/x", draft_by="nonsense"), "spec.synthesis.model"),
        (ask("a/x", start_after=-1), "spec.synthesis.start_after"),
        (changed(ask("a/x"), cap=Nanos(-1)), "spec.cap"),
    ],
)
async def test_an_absurd_spec_is_refused_with_the_path_of_its_field(spec: FanoutSpec, field: str) -> None:
    async with open_room(SCRIPTS) as room:
        with pytest.raises(InvalidField) as refused:
            await room.fanouts.start(ME, spec, request_id="")
        assert [path for path, _ in refused.value.violations] == [field]
        assert not await room.fanouts.list(HOME)


async def test_all_violations_are_named_at_once() -> None:
    async with open_room(SCRIPTS) as room:
        with pytest.raises(InvalidField) as refused:
            await room.fanouts.plan(ME, ask("a", "b", prompt="", enough=9))
    assert len(refused.value.violations) == 4


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ask("a/x", "b/none"), "spec.branches[1].model"),
        (changed(ask(), branches=branch(failover=(ModelName("b/none"),))), "spec.branches[0].failover[0]"),
        (ask("a/x", "a/x", mode=SynthesisMode.DRAFT, draft_by="b/none"), "spec.synthesis.model"),
    ],
)
async def test_an_unknown_model_names_its_field(spec: FanoutSpec, field: str) -> None:
    async with open_room(SCRIPTS) as room:
        with pytest.raises(ModelNotFound) as refused:
            await room.fanouts.plan(ME, spec)
    assert refused.value.metadata["field"] == field


async def test_samples_are_counted_out_with_seeds_of_their_own() -> None:
    spec = changed(
        ask(),
        branches=(
            BranchSpec(model=ModelName("a/x"), samples=2, parameters=Parameters(seed=7)),
            BranchSpec(model=ModelName("a/y"), persona="You are terse."),
            BranchSpec(model=ModelName("a/x"), parameters=Parameters(seed=7)),
        ),
    )
    async with open_room(SCRIPTS) as room:
        (opened,) = of(await room.ask(spec), RunOpened)
        calls = sorted(room.panel.asked, key=lambda call: call.call_id)[:4]
    assert [(plan.branch_id, plan.model, plan.sample) for plan in opened.branches] == [
        ("b1", "a/x", 1),
        ("b2", "a/x", 2),
        ("b3", "a/y", 1),
        ("b4", "a/x", 3),
    ]
    assert [(call.sample, call.parameters.seed) for call in calls] == [(1, 7), (2, 8), (1, None), (3, 9)]
    assert calls[2].messages[0] == Message(role=Speaker.SYSTEM, content="You are terse.")


async def test_the_defaults_fill_in_the_panel_the_mode_and_the_synthesiser() -> None:
    defaults = FanoutDefaults(panel=branch() + branch(model="a/y"), synthesiser=ModelName("d/m"))
    async with open_room(SCRIPTS, defaults=defaults) as room:
        (opened,) = of(await room.ask(changed(ask(), synthesis=SynthesisSpec())), RunOpened)
        assert [plan.model for plan in opened.branches] == ["a/x", "a/y"]
        assert opened.synthesis == SynthesisMode.DRAFT
        assert room.panel.asked_of("d/m")
        (alone,) = of(await room.ask(changed(ask("a/x"), synthesis=SynthesisSpec())), RunOpened)
    assert alone.synthesis == SynthesisMode.NONE
    assert alone.title == alone.prompt == "What is a monad?"


@pytest.mark.parametrize(
    ("asked", "drafter"),
    [
        (("sim/slow", "local/tiny", "a/x", "a/y"), "a/x"),
        (("sim/slow", "local/tiny"), "local/tiny"),
        (("sim/silent", "sim/slow"), "sim/fast"),
    ],
)
async def test_without_a_synthesiser_the_best_of_those_asked_drafts(asked: tuple[str, ...], drafter: str) -> None:
    scripts: dict[str, Script] = dict.fromkeys((*asked, drafter), Answer())
    async with open_room(scripts) as room:
        await room.ask(ask(*asked, mode=SynthesisMode.DRAFT))
        drafts = {call.models[0] for call in room.panel.asked if "/draft-" in call.call_id}
    assert drafts == {drafter}


async def test_the_local_model_is_shown_less_wherever_it_drafts() -> None:
    shown = {}
    for drafter in ("local/tiny", "a/x"):
        scripts: dict[str, Script] = {"b/y": Answer(text="word " * 4_000), drafter: Answer()}
        async with open_room(scripts) as room:
            await room.ask(ask("b/y", mode=SynthesisMode.DRAFT, draft_by=drafter))
            (draft,) = room.panel.asked_of(drafter)
        shown[drafter] = sum(len(message.content) for message in draft.messages)
    assert shown["local/tiny"] < 6_000
    assert shown["a/x"] > 12_000


async def test_the_plan_bounds_what_the_run_reserves() -> None:
    spec = changed(
        ask("a/x", "a/x", "a/y", mode=SynthesisMode.DRAFT, draft_by="d/m"), parameters=Parameters(max_tokens=50)
    )
    async with open_room(SCRIPTS) as room:
        plan = await room.fanouts.plan(ME, spec)
        await room.ask(spec)
        spent = sum([(await room.panel.estimate(call)).worst or 0 for call in room.panel.asked])
    assert plan.calls == 5
    assert plan.expected < plan.worst
    assert spent <= plan.worst
    assert not plan.unpriced


async def test_the_number_of_drafts_in_the_worst_cost_is_bounded() -> None:
    async def drafts_cost(branches: int) -> int:
        spec = ask(*["a/x"] * branches, mode=SynthesisMode.DRAFT, draft_by="d/m")
        plain = changed(spec, synthesis=SynthesisSpec(mode=SynthesisMode.NONE))
        return (await room.fanouts.plan(ME, spec)).worst - (await room.fanouts.plan(ME, plain)).worst

    async with open_room(SCRIPTS) as room:
        one, four, many, more = [await drafts_cost(branches) for branches in (2, 5, MAX_DRAFTS + 1, 4 * MAX_DRAFTS)]
    assert 3.9 < four / one < 4.1
    assert 0.9 < more / many < 1.1


async def test_a_plan_says_what_the_cache_has_and_what_has_no_price() -> None:
    panel = Panel(SCRIPTS, price=None, cached=True)
    async with open_room(SCRIPTS, panel=panel) as room:
        plan = await room.fanouts.plan(ME, ask("a/x", "a/y"))
    assert plan.cache_hits == 2
    assert plan.unpriced == ("a/x", "a/y")


async def test_the_hash_of_a_plan_changes_with_anything_that_would_run() -> None:
    base = ask("a/x", "a/y", mode=SynthesisMode.DRAFT, draft_by="d/m")
    variants = [
        base,
        ask("a/y", "a/x", mode=SynthesisMode.DRAFT, draft_by="d/m"),
        ask("a/x", "a/y", mode=SynthesisMode.DRAFT, draft_by="a/x"),
        ask("a/x", "a/y", mode=SynthesisMode.VOTE),
        ask("a/x", "a/y", mode=SynthesisMode.DRAFT, draft_by="d/m", prompt="Another?"),
        changed(base, parameters=Parameters(max_tokens=5)),
        changed(base, cap=Nanos(1)),
        changed(base, cache_bypass=True),
        changed(base, enough=1),
    ]
    async with open_room(SCRIPTS) as room:
        hashes = [(await room.fanouts.plan(ME, spec)).plan_hash for spec in variants]
        assert (await room.fanouts.plan(ME, base)).plan_hash == hashes[0]
        room.panel.price = Price(input=PRICE.input + 1, output=PRICE.output, source=PRICE.source)
        hashes.append((await room.fanouts.plan(ME, base)).plan_hash)
    assert len(set(hashes)) == len(variants) + 1
    assert all(len(bytes.fromhex(found)) == hashlib.sha256().digest_size for found in hashes)


async def test_what_is_said_plainly_hashes_as_what_the_defaults_fill_in() -> None:
    async with open_room(SCRIPTS) as room:
        plain = await room.fanouts.plan(ME, changed(ask("a/x", "a/y"), synthesis=SynthesisSpec()))
        full = await room.fanouts.plan(ME, ask("a/x", "a/y", mode=SynthesisMode.DRAFT, draft_by="a/x", start_after=2))
    assert plain.plan_hash == full.plan_hash


async def test_a_run_of_another_workspace_is_not_found() -> None:
    async with open_room(SCRIPTS) as room:
        run_id = await room.start(ask("a/x"))
        await room.events(run_id)
        other = Workspace("other")
        for look in (room.fanouts.get(other, run_id), room.fanouts.cancel(other, run_id)):
            with pytest.raises(RunNotFound):
                await look
        with pytest.raises(RunNotFound):
            await anext(aiter(room.fanouts.watch(other, run_id)))
        assert [run.run_id for run in await room.fanouts.list(HOME)] == [run_id]
        assert not await room.fanouts.list(other)


async def test_cancelling_an_unknown_branch_is_refused_with_its_place() -> None:
    async with open_room({"a/x": Answer(gate="never")}) as room:
        run_id = await room.start(ask("a/x"))
        with pytest.raises(InvalidField) as refused:
            await room.fanouts.cancel(HOME, run_id, [BranchId("b1"), BranchId("b9")])
    assert refused.value.violations[0][0] == "branch_ids[1]"


async def test_a_draining_room_starts_nothing() -> None:
    async with open_room(SCRIPTS) as room:
        await room.fanouts.drain(1.0)
        with pytest.raises(Draining):
            await room.start(ask("a/x"))
