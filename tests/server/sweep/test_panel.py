import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.server.sweep.bench import CHEAP, IDENT, RUN, House, choices, last, means, panels, real, whole

from whet_server.errors import InvalidField, ModelNotFound, Reason
from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode, SynthesisSpec
from whet_server.judging import Item
from whet_server.llm.base import CallSpec
from whet_server.sweep.panel import PanelTarget, filled
from whet_server.sweep.spec import SweepSpec
from whet_server.sweeping import Budget, Configuration, SearchDimension
from whet_server.values import Failure, Message, ModelName, Nanos, Parameters, Speaker

ITEM = Item(item_id="a", input="Why?", reference="Because.", fields={"tone": "calm"})
FAILED = Failure(reason=Reason.PROVIDER_ERROR, message="The provider failed.")


def house(**more: Any) -> House:
    rules: dict[str, Any] = {
        "a/one": lambda call: f"one: {last(call)}",
        "a/two": lambda call: f"two: {last(call)}",
        "a/broken": lambda _: FAILED,
        "a/drafter": lambda _: "The answer of all.",
    }
    return House(rules | more)


def fanout(
    *models: str, mode: SynthesisMode = SynthesisMode.NONE, prompt: str = "Q: {{ input }}", **more: Any
) -> FanoutSpec:
    return FanoutSpec(
        messages=(Message(role=Speaker.USER, content=prompt),),
        branches=tuple(BranchSpec(model=ModelName(model)) for model in models),
        synthesis=SynthesisSpec(mode=mode, model=ModelName("a/drafter")),
        **more,
    )


def target(caller: House, spec: FanoutSpec, *space: SearchDimension, items: Sequence[Item] = (ITEM,)) -> PanelTarget:
    sweep = SweepSpec(fanout=spec, space=space, budget=Budget(money=Nanos(10**9), tokens=50_000))
    return PanelTarget(spec, space, means(caller, sweep), items)


async def answer(of: PanelTarget, configuration: Configuration, sample: int = 1) -> Any:
    async with asyncio.timeout(10):
        return await of.answer(configuration, {}, ITEM, IDENT, sample=sample, stop=asyncio.Event())


async def test_a_case_is_a_whole_fan_out_inside_the_sweep_s_run_and_caps() -> None:
    caller = house()
    found = await answer(target(caller, fanout("a/one", "a/two", mode=SynthesisMode.DRAFT)), {})
    assert (found.output, found.failure, found.models) == ("The answer of all.", None, ("a/drafter",))
    assert [(each.stage, each.output) for each in found.stages] == [("b1", "one: Q: Why?"), ("b2", "two: Q: Why?")]
    assert {call.run_id for call in caller.asked} == {RUN}
    assert {call.call_id for call in caller.asked} >= {f"{IDENT}/b1", f"{IDENT}/b2", f"{IDENT}/draft-1"}
    assert {(call.run_cap, call.run_token_cap) for call in caller.asked} == {(10**9, 50_000)}
    each = 7 * 1000 + 3 * 2000
    assert found.cost == found.totals.settled == each * len(caller.asked)
    assert found.totals.attempts == len(caller.asked)
    assert found.latency_ns > 0


async def test_without_a_synthesis_the_first_branch_that_answered_is_the_answer() -> None:
    found = await answer(target(house(), fanout("a/broken", "a/two")), {})
    assert (found.output, found.stages, found.models, found.failure) == ("two: Q: Why?", (), ("a/two",), None)


async def test_a_fan_out_of_which_nothing_came_says_why() -> None:
    for mode in (SynthesisMode.NONE, SynthesisMode.DRAFT, SynthesisMode.VOTE):
        found = await answer(target(house(), fanout("a/broken", "a/broken", mode=mode)), {})
        assert found.failure is not None
        assert (found.failure.reason, found.output) == (Reason.PROVIDER_ERROR, "")


async def test_a_synthesis_that_failed_is_no_answer() -> None:
    caller = house(**{"a/drafter": lambda _: FAILED})
    found = await answer(target(caller, fanout("a/one", "a/two", mode=SynthesisMode.DRAFT)), {})
    assert found.failure == FAILED


async def test_every_place_is_set() -> None:
    caller = house()
    space = (
        panels(pair=["a/one", "a/two"], lone=["a/one"]),
        choices("template", plain="{{ input }}", toned="{{ fields.tone }} {{ params.end }}: {{ input }}"),
        choices("persona", sage="You are wise."),
        choices("synthesis.mode", "none", "vote"),
        choices("end", "soon"),
        whole("samples", 1, 3),
        whole("enough", 0, 2),
        whole("max_tokens", 10, 50),
        real("temperature", 0, 1),
        real("top_p", 0.5, 1),
    )
    of = target(caller, fanout("a/two"), *space)
    await of.check()
    settings: Configuration = {
        "panel": "lone",
        "template": "toned",
        "persona": "sage",
        "synthesis.mode": "vote",
        "end": "soon",
        "samples": 3,
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    found = await answer(of, settings)
    assert found.output == "one: calm soon: Why?"
    assert [call.models for call in caller.asked] == [("a/one",)] * 3
    first = caller.asked[0]
    assert [message.content for message in first.messages] == ["You are wise.", "calm soon: Why?"]
    assert first.parameters == Parameters(temperature=0.5, top_p=0.9, max_tokens=20)
    assert [call.sample for call in caller.asked] == [1, 2, 3]


async def test_a_replicate_asks_for_other_samples() -> None:
    caller = house()
    of = target(caller, fanout("a/one"), whole("samples", 1, 3))
    await answer(of, {"samples": 3}, sample=2)
    assert [call.sample for call in caller.asked] == [4, 5, 6]


async def test_enough_branches_cut_the_others_off() -> None:
    begun = asyncio.Event()

    class Slow(House):
        async def call(self, spec: CallSpec, listener: Any, stop: asyncio.Event) -> Any:
            if spec.models[0] == "a/two":
                begun.set()
                await stop.wait()
            else:
                await begun.wait()
            return await super().call(spec, listener, stop)

    of = target(Slow(house().rules), fanout("a/one", "a/two"), whole("enough", 1, 2))
    assert (await answer(of, {"enough": 1})).output == "one: Q: Why?"


async def test_stopping_cuts_every_call_off() -> None:
    stop, begun = asyncio.Event(), asyncio.Event()

    class Endless(House):
        async def call(self, spec: CallSpec, listener: Any, stop: asyncio.Event) -> Any:
            begun.set()
            await stop.wait()
            return await super().call(spec, listener, stop)

    of = target(Endless(house().rules), fanout("a/one", "a/two", mode=SynthesisMode.DRAFT))
    async with asyncio.timeout(10):
        task = asyncio.create_task(of.answer({}, {}, ITEM, IDENT, sample=1, stop=stop))
        await begun.wait()
        stop.set()
        found = await task
    assert found.failure is not None
    assert found.failure.reason == Reason.CANCELLED


async def test_what_the_fan_out_says_is_the_baseline() -> None:
    spec = filled(
        fanout(parameters=Parameters(temperature=0.3)), [BranchSpec(model=ModelName("a/one"), samples=2)], None
    )
    of = target(
        house(),
        spec,
        panels(pair=["a/one", "a/two"], lone=["a/one"]),
        choices("template", other="{{ input }}!", own="Q: {{ input }}"),
        choices("temperature", "0.7", "0.30"),
        whole("samples", 1, 3),
        choices("synthesis.mode", "vote", "none"),
        choices("end", "x"),
    )
    assert of.baseline() == {
        "panel": "lone",
        "template": "own",
        "temperature": "0.30",
        "samples": 2,
        "synthesis.mode": "none",
    }


@pytest.mark.parametrize(
    ("space", "path"),
    [
        (choices("template", bad="{{ inptu }}"), "spec.space[0].choices.choices[0].text"),
        (choices("synthesis.mode", "none", "best"), "spec.space[0].choices.choices[1].label"),
        (choices("tone", "calm", "loud"), "spec.space[0].name"),
        (choices("classify.template", "a"), "spec.space[0].name"),
        (real("samples", 1, 3), "spec.space[0].float_range"),
        (whole("samples", 0, 3), "spec.space[0].int_range"),
        (real("temperature", 0, 3), "spec.space[0].float_range"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_field(space: SearchDimension, path: str) -> None:
    with pytest.raises(InvalidField) as refused:
        await target(house(), fanout("a/one"), space).check()
    assert [where for where, _ in refused.value.violations] == [path]


async def test_models_that_are_not_there_are_refused() -> None:
    with pytest.raises(ModelNotFound, match=r"spec.space\[0\].choices.choices\[0\]"):
        await target(house(), fanout("a/one"), panels(pair=["a/one", "a/none"])).check()
    with pytest.raises(InvalidField, match=r"spec.fanout.prompt.*line 1: `reference`"):
        await target(house(), fanout("a/one", prompt="{{ reference }}")).check()


async def test_a_fan_out_s_guess_and_bound_hold_what_it_costs() -> None:
    caller = house()
    of = target(
        caller,
        fanout("a/one", mode=SynthesisMode.DRAFT, parameters=Parameters(max_tokens=20)),
        panels(pair=["a/one", "a/two"], lone=["a/one"]),
        whole("samples", 1, 2),
    )
    guess, text = await of.guess({"panel": "pair", "samples": 1}, ITEM)
    assert guess.calls == 3  # two branches, and the draft that begins when both are there
    assert 0 < guess.low < guess.expected
    assert text
    _, worst = await of.worst(ITEM)
    assert worst > guess.expected
    found = await answer(of, {"panel": "pair", "samples": 2})
    assert found.cost is not None
    assert found.cost < worst
    assert CHEAP.output > CHEAP.input
