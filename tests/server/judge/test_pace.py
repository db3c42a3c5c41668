"""The local model is asked one by one, and what a plan says of time is learnt."""

from tests.server.fanout.panel import HOME, ME, Answer, Panel
from tests.server.judge.bench import rated
from tests.server.judge.court import JUDGE, by_number, court, items, judge, outcomes

from whet_server.judge.pace import Pace
from whet_server.judge.spec import JudgementSpec
from whet_server.judging import Outcome, Verdict
from whet_server.values import ModelName, RunState, Totals

LOCAL = ModelName("local/smollm2")


async def test_the_local_model_has_one_question_before_it_however_many_are_asked_of_others() -> None:
    verdict = Answer(text=rated(3, 3, quote="the answer"), gate="go on")
    panel = Panel({LOCAL: verdict, JUDGE: verdict})
    async with court({}, panel=panel) as room:
        run_id = await room.start(JudgementSpec(items=items(10), judge=judge(LOCAL, JUDGE)))
        await panel.until(lambda: len(panel.asked_of(JUDGE)) == 10)
        assert len(panel.asked_of(LOCAL)) == 1
        panel.gate("go on").set()
        await room.events(run_id)
        view = await room.judgements.get(HOME, run_id)
    assert outcomes(view) == {Outcome.SCORED: 20}


async def test_questions_that_wait_for_the_local_model_are_not_asked_after_a_cancel() -> None:
    panel = Panel({LOCAL: Answer(gate="never")})
    async with court({}, panel=panel) as room:
        run_id = await room.start(JudgementSpec(items=items(5), judge=judge(LOCAL)))
        await panel.until(lambda: bool(panel.asked))
        view = await room.judgements.cancel(HOME, run_id)
    assert view.run.state is RunState.CANCELLED
    assert len(panel.asked) == 1


async def test_a_plan_takes_as_long_as_verdicts_have_taken() -> None:
    pace = Pace()
    before = pace.seconds(LOCAL)
    took = Verdict(
        item_id="1", criterion="c", outcome=Outcome.FAILED, judge=LOCAL, totals=Totals(attempts=1), latency_ns=int(60e9)
    )
    pace.took(took)
    assert before < pace.seconds(LOCAL) == 60
    spec = JudgementSpec(items=items(10), judge=judge(LOCAL))
    async with court({LOCAL: by_number()}) as room:
        guessed = await room.judgements.plan(ME, spec)
        await room.judge(spec)
        learnt = await room.judgements.plan(ME, spec)
    assert guessed.duration_ns == int(before * 10 * 1e9)
    assert learnt.duration_ns < guessed.duration_ns
