"""CalibrationService over the wire: rate what a judge judged, calibrate it, and gate by it."""

from tests.server.rpc.conftest import Client, Served, refused
from tests.server.rpc.test_approval_gate import decide
from tests.server.rpc.test_dataset import put, rows

from whet.v1 import calibration_pb2, dataset_pb2, error_reason_pb2, judge_pb2, judging_pb2, rubric_pb2, scorer_pb2

MODEL = "sim/judge?noise=0.05"
TEXT = """
description = "Whether an answer takes up its question."
lowest = 1
highest = 5

[[dimension]]
name = "pertinence"
question = "Does it take up what was asked?"
[dimension.levels]
1 = "It speaks of something else."
2 = "It touches the question."
3 = "It takes up a part of the question."
4 = "It takes up nearly all of the question."
5 = "It takes up all of the question, with reasons."
"""
QUESTION = "Why did the checkout become slow on Tuesday after the certificates of the payment vendor changed?"
PARTS = (
    "The checkout became slow on Tuesday because the vendor changed its certificates.",
    "First measure the payment calls before and after the certificates changed, since each waits 700 ms.",
    "Then compare two traces span by span, because the one that grew names the cause.",
    "Therefore ask the payment vendor for the old certificates and measure again within 10 minutes.",
)


def answers(many: int) -> list[scorer_pb2.Item]:
    """Answers that say more and more of what was asked."""
    return [
        scorer_pb2.Item(
            item_id=f"a{place}",
            input=QUESTION,
            candidates=[
                " ".join([f"Note {place}.", *PARTS[: place % 5], *(["Lunch was good."] if place % 5 < 2 else [])])
            ],
        )
        for place in range(many)
    ]


async def put_rubric(client: Client, text: str = TEXT) -> rubric_pb2.Rubric:
    request = rubric_pb2.PutRubricRequest(name="pertinent", text=text)
    return (await client.rubric.PutRubric(request, metadata=client.metadata)).rubric


async def judged(client: Client, many: int = 40) -> str:
    """Judge the answers to the end; return the run's id."""
    judge = judging_pb2.Judge(rubric="pertinent", models=[MODEL])
    spec = judge_pb2.JudgementSpec(items=answers(many), judge=judge)
    run_id = ""
    async for response in client.judge.RunJudgement(
        judge_pb2.RunJudgementRequest(spec=spec), metadata=client.metadata, timeout=30
    ):
        run_id = response.run_id
    return run_id


async def rate(client: Client, run_id: str, many: int = 40, request_id: str = "") -> calibration_pb2.PutRatingsResponse:
    """Rate by what the answers were written to be, by the rubric of the run: one level more for each part."""
    lines = "".join(f"a{place},{place % 5 + 1}\n" for place in range(many))
    request = calibration_pb2.PutRatingsRequest(
        run_id=run_id, csv="item_id,level\n" + lines, rater="ada", request_id=request_id
    )
    return await client.calibration.PutRatings(request, metadata=client.metadata)


async def calibrate(client: Client, run_id: str, request_id: str = "") -> calibration_pb2.Calibration:
    request = calibration_pb2.CalibrateRequest(run_id=run_id, request_id=request_id)
    return (await client.calibration.Calibrate(request, metadata=client.metadata)).calibration


async def gate(client: Client, run_id: str) -> judge_pb2.GateJudgementResponse:
    request = judge_pb2.GateJudgementRequest(run_id=run_id, min_mean=0.1)
    return await client.judge.GateJudgement(request, metadata=client.metadata)


async def check(client: Client, rubric: str = "pertinent") -> calibration_pb2.CheckJudgeResponse:
    request = calibration_pb2.CheckJudgeRequest(judge=judging_pb2.Judge(rubric=rubric, models=[MODEL]))
    return await client.calibration.CheckJudge(request, metadata=client.metadata)


async def test_a_judge_earns_the_gate_and_loses_it_by_one_word(served: Served) -> None:
    person = served.person
    await put_rubric(person)
    run_id = await judged(person)
    before = await gate(person, run_id)
    assert before.error_reason == error_reason_pb2.ERROR_REASON_JUDGE_UNCALIBRATED
    assert (await check(person)).state == judging_pb2.CALIBRATION_STATE_UNCALIBRATED

    assert (await rate(person, run_id)).added == 40
    made = await calibrate(person, run_id)
    whole = made.agreements[0]
    assert (whole.items, sum(whole.matrix), list(made.raters)) == (40, 40, ["ada"])
    assert whole.weighted_kappa.low > 0.4
    assert made.simulated
    assert made.judge.rubric == "pertinent@1"
    assert (await gate(person, run_id)).decision == judge_pb2.GATE_DECISION_PASSED
    assert (await check(person)).state == judging_pb2.CALIBRATION_STATE_CALIBRATED

    await put_rubric(person, TEXT.replace("nearly all", "almost all"))
    again = await gate(person, await judged(person))
    assert again.decision == judge_pb2.GATE_DECISION_REFUSED
    assert again.error_reason == error_reason_pb2.ERROR_REASON_JUDGE_STALE
    assert "the text of the rubric pertinent" in again.reason
    stale = await check(person)
    assert stale.state == judging_pb2.CALIBRATION_STATE_STALE
    assert stale.calibration.calibration_id == made.calibration_id
    assert (await check(person, "pertinent@1")).state == judging_pb2.CALIBRATION_STATE_CALIBRATED
    [listed] = (
        await person.calibration.ListCalibrations(
            calibration_pb2.ListCalibrationsRequest(rubric="pertinent", model=MODEL), metadata=person.metadata
        )
    ).calibrations
    assert (listed.state, listed.reason) == (stale.state, stale.reason)


async def test_the_same_request_id_keeps_ratings_and_calibrations_once(served: Served) -> None:
    person = served.person
    await put_rubric(person)
    run_id = await judged(person)
    first, again = [await rate(person, run_id, request_id="r1") for _ in range(2)]
    assert (again.added, again.replaced) == (first.added, first.replaced) == (40, 0)
    one, other = [await calibrate(person, run_id, "c1") for _ in range(2)]
    assert one == other
    request = calibration_pb2.ListCalibrationsRequest()
    assert len((await person.calibration.ListCalibrations(request, metadata=person.metadata)).calibrations) == 1


async def test_only_a_person_rates_and_an_agent_asks_before_it_calibrates(served: Served) -> None:
    await put_rubric(served.person)
    run_id = await judged(served.person)
    async with refused() as said:
        await rate(served.agent, run_id)
    assert said[0].reason == "ROLE_NOT_ALLOWED"
    await rate(served.person, run_id)
    async with refused() as said:
        await calibrate(served.agent, run_id, "c1")
    assert said[0].reason == "APPROVAL_REQUIRED"
    await decide(served.person, said[0], grant=True)
    assert (await calibrate(served.agent, run_id, "c1")).agreements[0].items == 40


async def test_ratings_calibrations_and_standings_are_the_workspaces_own(served: Served) -> None:
    await put_rubric(served.person)
    run_id = await judged(served.person)
    await rate(served.person, run_id)
    await calibrate(served.person, run_id)
    stranger = served.stranger
    ratings = await stranger.calibration.ListRatings(calibration_pb2.ListRatingsRequest(), metadata=stranger.metadata)
    assert not ratings.ratings
    async with refused() as said:
        await calibrate(stranger, run_id)
    assert said[0].reason == "RUN_NOT_FOUND"
    async with refused() as said:
        await rate(stranger, run_id)
    assert said[0].reason == "RUN_NOT_FOUND"
    await put_rubric(stranger)
    assert (await check(stranger)).state == judging_pb2.CALIBRATION_STATE_UNCALIBRATED


async def test_rows_under_seal_cannot_be_rated_and_open_ones_can(served: Served) -> None:
    person = served.person
    await put(person, rows(40))
    await put_rubric(person)
    given = await person.dataset.ListRows(dataset_pb2.ListRowsRequest(name="support"), metadata=person.metadata)
    open_ids = {row.row_id for row in given.rows}
    everything = {f"r{number}" for number in range(1, 41)}
    sealed = sorted(everything - open_ids)
    assert sealed
    request = calibration_pb2.PutRatingsRequest(
        dataset=dataset_pb2.DatasetRef(name="support"),
        ratings=[judging_pb2.Rating(item_id=item, level=3) for item in (*sorted(open_ids), *sealed)],
        rubric="pertinent",
        rater="ada",
    )
    async with refused() as said:
        await person.calibration.PutRatings(request, metadata=person.metadata)
    assert set(said[0].violations) == {f"ratings[{len(open_ids) + place}]" for place in range(len(sealed))}
    del request.ratings[len(open_ids) :]
    answer = await person.calibration.PutRatings(request, metadata=person.metadata)
    assert answer.added == len(open_ids)
    request.dataset.split = dataset_pb2.SPLIT_HOLDOUT
    async with refused() as said:
        await person.calibration.PutRatings(request, metadata=person.metadata)
    assert said[0].reason == "HOLDOUT_SEALED"


async def test_ratings_are_listed_by_page_with_their_source(served: Served) -> None:
    person = served.person
    await put_rubric(person)
    run_id = await judged(person, 5)
    await rate(person, run_id, 5)
    keyed = judging_pb2.Rating(item_id="a0", level=4, source=judging_pb2.RATING_SOURCE_KEYS)
    await person.calibration.PutRatings(
        calibration_pb2.PutRatingsRequest(run_id=run_id, ratings=[keyed], rubric="pertinent", rater="ada"),
        metadata=person.metadata,
    )
    request = calibration_pb2.ListRatingsRequest(rubric="pertinent")
    request.page.size = 4
    first = await person.calibration.ListRatings(request, metadata=person.metadata)
    request.page.token = first.next_page_token
    rest = await person.calibration.ListRatings(request, metadata=person.metadata)
    assert [each.item_id for each in (*first.ratings, *rest.ratings)] == ["a0", "a4", "a3", "a2", "a1", "a0"]
    assert rest.next_page_token == ""
    newest, oldest = first.ratings[0], rest.ratings[-1]
    assert (newest.source, oldest.source) == (judging_pb2.RATING_SOURCE_KEYS, judging_pb2.RATING_SOURCE_CSV)
    assert (newest.subject, newest.rater, newest.rubric) == (oldest.subject, "ada", "pertinent")
    assert newest.HasField("rate_time")


async def test_a_mean_is_corrected_by_the_people_who_rated(served: Served) -> None:
    person = served.person
    await put_rubric(person)
    await rate(person, await judged(person))
    spec = judge_pb2.JudgementSpec(
        items=answers(60), judge=judging_pb2.Judge(rubric="pertinent", models=[MODEL]), correct=True
    )
    run_id = ""
    async for response in person.judge.RunJudgement(
        judge_pb2.RunJudgementRequest(spec=spec), metadata=person.metadata, timeout=30
    ):
        run_id = response.run_id
    view = await person.judge.GetJudgement(judge_pb2.GetJudgementRequest(run_id=run_id), metadata=person.metadata)
    [summary] = view.judgement.criteria
    assert summary.corrected_on == 40
    assert abs(summary.corrected_mean.value - 0.5) < abs(summary.mean.value - 0.5)
