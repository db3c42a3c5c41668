"""Values that go to the wire by their fields' names come back as they were."""

from whet.v1 import judging_pb2, scorer_pb2
from whet_server.judging import (
    DimensionScore,
    Item,
    Judge,
    JudgeMode,
    Outcome,
    Quote,
    Rating,
    RatingSource,
    Verdict,
)
from whet_server.rpc.convert.mirror import message_of, value_of
from whet_server.values import ModelName, Nanos, Parameters


def test_an_item_comes_back_as_it_was() -> None:
    item = Item(
        item_id="i1",
        input="Why?",
        candidates=("Because.", ""),
        writers=(ModelName("sim/any"),),
        latency_ns=1_500_000_000,
        cost=Nanos(7),
        fields={"lang": "en"},
    )
    message = message_of(item, scorer_pb2.Item)
    assert (message.latency.seconds, message.latency.nanos, message.cost.nanos) == (1, 500_000_000, 7)
    assert value_of(message, Item) == item


def test_what_is_not_set_on_the_wire_keeps_its_default() -> None:
    assert value_of(scorer_pb2.Item(), Item) == Item()
    assert value_of(judging_pb2.Judge(), Judge) == Judge()


def test_a_judge_and_a_rating_come_back_with_their_enums_and_times() -> None:
    judge = Judge(
        rubric="tone@2", models=(ModelName("a/b"),), mode=JudgeMode.PAIRWISE, parameters=Parameters(temperature=0.0)
    )
    assert value_of(message_of(judge, judging_pb2.Judge), Judge) == judge
    rating = Rating(subject="ab", rubric="tone", rater="ada", preferred=0, source=RatingSource.KEYS, rate_ns=5)
    assert value_of(message_of(rating, judging_pb2.Rating), Rating) == rating


def test_a_score_of_nothing_is_not_a_score_of_zero() -> None:
    zero = Verdict(item_id="1", criterion="c", outcome=Outcome.SCORED, score=0.0)
    none = Verdict(item_id="1", criterion="c", outcome=Outcome.ABSTAINED)
    assert message_of(zero, judging_pb2.Verdict).HasField("score")
    assert not message_of(none, judging_pb2.Verdict).HasField("score")


def test_nested_values_keep_their_order() -> None:
    dimensions = (
        DimensionScore(dimension="a", level=2, quotes=(Quote(text="x", end=1), Quote(text="y", start=4, end=5))),
        DimensionScore(dimension="b"),
    )
    verdict = Verdict(item_id="1", criterion="c", outcome=Outcome.ABSTAINED, dimensions=dimensions)
    assert value_of(message_of(verdict, judging_pb2.Verdict), Verdict).dimensions == dimensions
