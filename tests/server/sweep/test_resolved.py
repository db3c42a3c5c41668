from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode
from whet_server.sweep.resolved import has_place, resolved
from whet_server.sweep.spec import Pipeline, Stage, SweepSpec
from whet_server.sweeping import Choice, Choices, Configuration, SearchDimension
from whet_server.values import Message, ModelName, Parameters, Speaker

PANEL = SearchDimension(
    name="panel",
    choices=Choices(
        choices=(Choice(label="two", models=(ModelName("sim/a"), ModelName("sim/b"))), Choice(label="sim/c"))
    ),
)
FANOUT = SweepSpec(
    fanout=FanoutSpec(
        messages=(Message(role=Speaker.SYSTEM, content="Be short."), Message(role=Speaker.USER, content="{{ input }}")),
        branches=(BranchSpec(model=ModelName("sim/old"), parameters=Parameters(temperature=0.9)),),
    ),
    space=(PANEL,),
)


def test_a_panel_is_put_in_before_what_is_set_for_all_of_it() -> None:
    configuration: Configuration = {"temperature": 0.2, "samples": 3, "panel": "two", "persona": "a clerk", "enough": 1}
    fanout = resolved(FANOUT, configuration).fanout
    assert fanout is not None
    assert [each.model for each in fanout.branches] == ["sim/a", "sim/b"]
    assert {(each.samples, each.persona, each.parameters.temperature) for each in fanout.branches} == {
        (3, "a clerk", 0.2)
    }
    assert fanout.enough == 1


def test_a_fan_out_keeps_what_is_not_searched() -> None:
    fanout = resolved(FANOUT, {"template": "Why {{ input }}?", "synthesis.mode": "vote", "temperature": 0.1}).fanout
    assert fanout is not None
    assert [each.content for each in fanout.messages] == ["Be short.", "Why {{ input }}?"]
    assert fanout.synthesis.mode is SynthesisMode.VOTE
    assert fanout.branches == (BranchSpec(model=ModelName("sim/old"), parameters=Parameters(temperature=0.1)),)


def test_labels_stand_for_numbers_at_places_of_numbers() -> None:
    spec = SweepSpec(pipeline=Pipeline(stages=(Stage(name="s"),)))
    configuration: Configuration = {
        "s.temperature": "0.70",
        "s.max_tokens": "64",
        "s.examples.count": "4",
        "s.examples.selection": "similar",
    }
    pipeline = resolved(spec, configuration).pipeline
    assert pipeline is not None
    assert pipeline.stages[0].parameters == Parameters(temperature=0.7, max_tokens=64)
    assert (pipeline.stages[0].examples.count, pipeline.stages[0].examples.selection) == (4, "similar")


def test_texts_that_the_sweep_made_stand_above_the_space() -> None:
    spec = SweepSpec(pipeline=Pipeline(stages=(Stage(name="s", template="old"),)))
    pipeline = resolved(spec, {"s.template": "t3"}, (Choice(label="t3", text="new {{ input }}"),)).pipeline
    assert pipeline is not None
    assert pipeline.stages[0].template == "new {{ input }}"


def test_what_has_no_place_is_a_variable() -> None:
    spec = SweepSpec(pipeline=Pipeline(stages=(Stage(name="s"),)))
    assert [has_place(spec, name) for name in ("s.model", "t.model", "tone", "s.on")] == [True, False, False, False]
    assert [has_place(FANOUT, name) for name in ("panel", "persona", "seed", "tone")] == [True, True, False, False]
