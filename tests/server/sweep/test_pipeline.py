import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.server.sweep.bench import IDENT, RUN, House, choices, last, means, real, whole

from whet_server.errors import InvalidField, ModelNotFound, Reason
from whet_server.judging import Item
from whet_server.sweep.examples import Examples
from whet_server.sweep.pipeline import PipelineTarget, filled
from whet_server.sweep.spec import FewShot, Pipeline, Stage, SweepSpec
from whet_server.sweeping import Budget, Configuration, SearchDimension
from whet_server.values import Failure, ModelName, Nanos, Parameters, Speaker

ITEM = Item(item_id="a", input="Where is my parcel?", reference="shipping", fields={"tone": "calm"})
ROWS = [
    Item(item_id="r1", input="I cannot sign in", reference="login"),
    Item(item_id="r2", input="where is  my PARCEL?", reference="shipping"),
    Item(item_id="r3", input="My parcel is late", reference="shipping"),
    Item(item_id="r4", input="The bill is wrong", reference="billing"),
    Item(item_id="r5", input="Nobody solved this", reference=""),
]
FAILED = Failure(reason=Reason.RATE_LIMITED, message="Too many.", transient=True)


def stage(name: str = "classify", template: str = "", model: str = "a/one", **more: Any) -> Stage:
    return Stage(name=name, template=template, model=ModelName(model), **more)


def house(**more: Any) -> House:
    rules: dict[str, Any] = {
        "a/one": lambda call: f"<{last(call)}>",
        "a/two": lambda call: f"two <{last(call)}>",
        "a/broken": lambda _: FAILED,
    }
    return House(rules | more)


def target(
    caller: House, stages: Sequence[Stage], *space: SearchDimension, rows: Sequence[Item] = ROWS
) -> PipelineTarget:
    pipeline = filled(Pipeline(stages=tuple(stages)), ModelName("a/one"))
    sweep = SweepSpec(pipeline=pipeline, space=space, budget=Budget(money=Nanos(10**9), tokens=50_000))
    return PipelineTarget(pipeline, space, means(caller, sweep), Examples(rows, 7), frozenset(ITEM.fields))


async def answer(
    of: PipelineTarget,
    configuration: Configuration | None = None,
    texts: Mapping[str, str] | None = None,
    sample: int = 1,
) -> Any:
    async with asyncio.timeout(10):
        return await of.answer(configuration or {}, texts or {}, ITEM, IDENT, sample=sample, stop=asyncio.Event())


async def test_stages_are_asked_one_after_the_other_and_see_earlier_answers() -> None:
    caller = house()
    stages = [stage("draft"), stage("judge", "{{ draft }} of {{ input }}"), stage("final")]
    found = await answer(target(caller, stages))
    assert [last(call) for call in caller.asked] == [
        "Where is my parcel?",
        "<Where is my parcel?> of Where is my parcel?",
        "<<Where is my parcel?> of Where is my parcel?>",
    ]
    assert [each.stage for each in found.stages] == ["draft", "judge"]
    assert (found.output, found.failure) == ("<<<Where is my parcel?> of Where is my parcel?>>", None)
    assert [call.call_id for call in caller.asked] == [f"{IDENT}/{name}" for name in ("draft", "judge", "final")]
    assert {(call.run_id, call.run_cap, call.run_token_cap) for call in caller.asked} == {(RUN, 10**9, 50_000)}
    assert found.cost == found.totals.settled == 3 * (7 * 1000 + 3 * 2000)


async def test_every_place_is_set() -> None:
    caller = house()
    space = (
        choices("classify.template", a="{{ input }} ({{ params.style }}, {{ params.depth }})"),
        choices("classify.system", none="Be {{ fields.tone }}."),
        choices("classify.model", "a/one", "a/two"),
        real("classify.temperature", 0, 1),
        choices("classify.top_p", "0.5", "0.9"),
        whole("classify.max_tokens", 1, 100),
        whole("classify.seed", 0, 10),
        choices("style", short="a few words"),
        whole("depth", 1, 3),
    )
    of = target(caller, [stage(template="{{ input }}")], *space)
    await of.check()
    settings: Configuration = {
        "classify.template": "a",
        "classify.system": "none",
        "classify.model": "a/two",
        "classify.temperature": 0.25,
        "classify.top_p": "0.9",
        "classify.max_tokens": 9,
        "classify.seed": 4,
        "style": "short",
        "depth": 2,
    }
    await answer(of, settings, sample=3)
    (call,) = caller.asked
    assert [(message.role, message.content) for message in call.messages] == [
        (Speaker.SYSTEM, "Be calm."),
        (Speaker.USER, "Where is my parcel? (a few words, 2)"),
    ]
    assert (call.models, call.sample) == (("a/two",), 3)
    assert call.parameters == Parameters(temperature=0.25, top_p=0.9, max_tokens=9, seed=6)


async def test_a_stage_that_is_off_hands_on_what_it_got() -> None:
    caller = house()
    of = target(caller, [stage("clean"), stage("classify")], choices("clean.on", "yes", "no"))
    await of.check()
    assert (await answer(of, {"clean.on": "no"})).output == "<Where is my parcel?>"
    assert [call.call_id for call in caller.asked] == [f"{IDENT}/classify"]
    last_off = target(house(), [stage("a"), stage("b")], choices("b.on", "yes", "no"))
    found = await answer(last_off, {"b.on": "no"})
    assert (found.output, [each.stage for each in found.stages]) == ("<Where is my parcel?>", ["a"])


async def test_texts_of_the_sweep_s_own_stand_for_their_labels() -> None:
    caller = house()
    of = target(caller, [stage()], choices("classify.template", v1="{{ input }}"))
    await answer(of, {"classify.template": "v2"}, {"v2": "New: {{ input }}"})
    assert last(caller.asked[0]) == "New: Where is my parcel?"


async def test_a_failed_stage_ends_the_case_and_is_named() -> None:
    caller = house()
    found = await answer(target(caller, [stage("one"), stage("two", model="a/broken"), stage("three")]))
    assert found.failure is not None
    assert (found.failure.reason, found.failure.message) == (Reason.RATE_LIMITED, "two: Too many.")
    assert (len(caller.asked), found.output) == (2, "")
    assert [each.stage for each in found.stages] == ["one"]


async def test_a_template_that_cannot_be_filled_in_is_a_failure_and_asks_nobody() -> None:
    caller = house()
    of = target(caller, [stage()], choices("classify.template", v1="{{ input }}"))
    found = await answer(of, {"classify.template": "v2"}, {"v2": "{{ reference }}"})
    assert found.failure is not None
    assert found.failure.reason == Reason.TEMPLATE_FAILED
    assert "`reference` is undefined" in found.failure.message
    assert not caller.asked


async def test_solved_cases_are_turns_and_never_the_case_itself() -> None:
    caller = house()
    of = target(caller, [stage(template="T: {{ input }}", system="Sort.", examples=FewShot(count=3))])
    await of.check()
    await answer(of)
    assert [(message.role.value, message.content) for message in caller.asked[0].messages] == [
        ("system", "Sort."),
        ("user", "T: I cannot sign in"),
        ("assistant", "login"),
        ("user", "T: My parcel is late"),
        ("assistant", "shipping"),
        ("user", "T: The bill is wrong"),
        ("assistant", "billing"),
        ("user", "T: Where is my parcel?"),
    ]


async def test_a_template_that_shows_solved_cases_has_no_turns() -> None:
    caller = house()
    shows = "{% for e in examples %}{{ e.input }}={{ e.output }};{% endfor %}{{ input }}"
    of = target(caller, [stage(template=shows)], whole("classify.examples.count", 0, 2))
    await of.check()
    await answer(of, {"classify.examples.count": 2})
    assert [message.content for message in caller.asked[0].messages] == [
        "I cannot sign in=login;My parcel is late=shipping;Where is my parcel?"
    ]


async def test_similar_examples_are_the_nearest_in_words_and_random_ones_are_drawn_once() -> None:
    shots = Examples(ROWS, 7)
    similar = await shots.pick(2, "similar", ITEM)
    assert similar[-1].item_id == "r3"
    drawn = [await Examples(ROWS, seed).pick(2, "random", ITEM) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len({tuple(each.item_id for each in shown) for shown in drawn}) > 1
    for selection in ("first", "random", "similar"):
        shown = await shots.pick(9, selection, ITEM)
        assert {each.item_id for each in shown} == {"r1", "r3", "r4"}


async def test_what_the_stages_say_is_the_baseline() -> None:
    of = target(
        house(),
        [stage(template="{{ input }}?", parameters=Parameters(temperature=0.0, max_tokens=20))],
        choices("classify.template", a="{{ input }}!", b="{{ input }}?"),
        choices("classify.model", "a/two", "a/one"),
        real("classify.temperature", 0.1, 1),
        choices("classify.max_tokens", "10", "20"),
        whole("classify.examples.count", 0, 3),
        choices("classify.on", "no", "yes"),
        real("classify.top_p", 0.1, 1),
        choices("style", "x"),
    )
    assert of.baseline() == {
        "classify.template": "b",
        "classify.model": "a/one",
        "classify.temperature": 0.0,
        "classify.max_tokens": "20",
        "classify.examples.count": 0,
        "classify.on": "yes",
    }


WRONG: list[tuple[Sequence[Stage], Sequence[SearchDimension], str]] = [
    ([stage()], [choices("classify.template", a="{{ inptu }}")], "spec.space[0].choices.choices[0].text"),
    ([stage()], [choices("classify.template", a="{{ params.tone }}")], "spec.space[0].choices.choices[0].text"),
    ([stage()], [choices("classify.system", a="{{ fields.age }}")], "spec.space[0].choices.choices[0].text"),
    ([stage(template="{{ reference }}")], [], "spec.pipeline.stages[0].template"),
    ([stage(template="{% if %}")], [], "spec.pipeline.stages[0].template"),
    ([stage(), stage("b", "{{ classify }}{{ c }}"), stage("c")], [], "spec.pipeline.stages[1].template"),
    ([stage(), stage()], [], "spec.pipeline.stages[1].name"),
    ([stage("input")], [], "spec.pipeline.stages[0].name"),
    ([stage(parameters=Parameters(temperature=3))], [], "spec.pipeline.stages[0].parameters.temperature"),
    ([], [], "spec.pipeline.stages"),
    ([stage()], [choices("tone", "calm", "loud")], "spec.space[0].name"),
    ([stage()], [choices("other.template", "x")], "spec.space[0].name"),
    ([stage()], [real("classify.model", 0, 1)], "spec.space[0]"),
    ([stage()], [real("classify.temperature", 0, 2.5)], "spec.space[0].float_range"),
    ([stage()], [real("classify.top_p", 0, 1)], "spec.space[0].float_range"),
    ([stage()], [real("classify.max_tokens", 1, 5)], "spec.space[0].float_range"),
    ([stage()], [choices("classify.temperature", "0.5", "warm")], "spec.space[0].choices.choices[1].label"),
    ([stage()], [choices("classify.max_tokens", "1.5")], "spec.space[0].choices.choices[0].label"),
    ([stage()], [choices("classify.on", "yes", "maybe")], "spec.space[0].choices.choices[1].label"),
    ([stage()], [choices("classify.model", a="a text")], "spec.space[0].choices.choices[0].text"),
    ([stage(), stage("b", examples=FewShot(count=1))], [], "spec.pipeline.stages[1].template"),
]


@pytest.mark.parametrize(("stages", "space", "path"), WRONG)
async def test_what_cannot_be_is_refused_with_its_field(
    stages: Sequence[Stage], space: Sequence[SearchDimension], path: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        await target(house(), stages, *space).check()
    assert {where for where, _ in refused.value.violations} == {path}


async def test_a_model_that_is_not_there_and_examples_that_are_not_there_are_refused() -> None:
    with pytest.raises(ModelNotFound, match=r"spec.space\[0\].choices.choices\[1\].label"):
        await target(house(), [stage()], choices("classify.model", "a/one", "a/none")).check()
    with pytest.raises(InvalidField, match=r"stages\[0\].examples: there are no solved cases"):
        await target(house(), [stage()], whole("classify.examples.count", 0, 3), rows=[ROWS[-1]]).check()
