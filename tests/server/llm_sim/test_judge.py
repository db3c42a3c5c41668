import pytest
from tests.server.audit.bench import items, judged
from tests.server.judge.bench import rubric

from whet_server.errors import InvalidField
from whet_server.judge.asking import questions
from whet_server.judging import Item, Judge, JudgeMode, Outcome, Verdict
from whet_server.llm import sim
from whet_server.llm.sim.judge import quality
from whet_server.values import ModelName

ASKED = "Why does the pump lose pressure after an hour?"
GOOD = (
    "The pump loses pressure because the seal gets hot, which leads to a leak. First measure the pressure for 60 "
    "minutes, then compare it with a new seal. If it stays at 4 bar, the seal is the cause."
)


def verdicts(model: str, mode: JudgeMode = JudgeMode.POINTWISE, count: int = 200) -> list[Verdict]:
    judge = Judge(models=(ModelName(model),), mode=mode)
    by = rubric()
    given = items(count, candidates=1 if mode is JudgeMode.POINTWISE else 3)
    return [judged(asked) for item in given for asked in questions(item, "c", judge, by)]


@pytest.mark.parametrize("mode", JudgeMode)
def test_a_simulated_judge_gives_a_verdict_on_everything_it_is_asked(mode: JudgeMode) -> None:
    found = verdicts("sim/judge?noise=0.1", mode, count=20)
    assert {verdict.outcome for verdict in found} == {Outcome.SCORED}
    assert len({verdict.score for verdict in found}) > 2
    assert found == verdicts("sim/judge?noise=0.1", mode, count=20)
    assert found != verdicts("sim/judge?noise=0.1&seed=7", mode, count=20)


def test_shares_of_its_answers_are_no_verdict_refuse_or_abstain() -> None:
    found = verdicts("sim/judge?garbage=0.2&abstain=0.2&refuse=0.1")
    outcomes = [verdict.outcome for verdict in found]
    # A bare reading finds no verdict in a refusal either; `judge.asking` tells the two apart.
    assert outcomes.count(Outcome.UNPARSEABLE) == pytest.approx(60, abs=20)
    assert outcomes.count(Outcome.ABSTAINED) == pytest.approx(40, abs=18)


def test_an_answer_that_takes_up_its_question_with_reasons_figures_and_steps_is_better_than_one_that_does_not() -> None:
    assert quality(ASKED, "", GOOD) > 0.8
    assert quality(ASKED, "", "Pumps are old.") < 0.3
    assert quality(ASKED, "", "") == 0


def test_an_empty_answer_gets_the_lowest_level_and_no_quote() -> None:
    judge = Judge(models=(ModelName("sim/judge?noise=0.5"),))
    (asked,) = questions(Item(item_id="e", input=ASKED, candidates=("",)), "c", judge, rubric())
    assert judged(asked).score == 0


def test_models_that_are_no_judges_give_no_verdict() -> None:
    assert {verdict.outcome for verdict in verdicts("sim/fast", count=5)} == {Outcome.UNPARSEABLE}


@pytest.mark.parametrize(
    "model", ["sim/fast?noise=0.1", "sim/judge?noise=2", "sim/judge?bias=age", "sim/judge?garbage=x"]
)
def test_settings_of_judges_are_refused_where_they_make_no_sense(model: str) -> None:
    with pytest.raises(InvalidField):
        sim.parse(model)
