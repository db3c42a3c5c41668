from tests.server.rpc.conftest import Served

from whet.v1 import judging_pb2, scorer_pb2


async def test_items_are_scored_item_by_item_and_scorer_by_scorer(served: Served) -> None:
    request = scorer_pb2.ScoreItemsRequest(
        items=[
            scorer_pb2.Item(candidates=["police killed the gunman"], reference="police killed the gunman"),
            scorer_pb2.Item(item_id="x", candidates=["police kill the gunman"], reference="police killed the gunman"),
            scorer_pb2.Item(candidates=["no reference"]),
        ],
        scorers=["exact", "overlap:rouge_l"],
    )
    answer = await served.person.scorer.ScoreItems(request, metadata=served.person.metadata)
    assert [(each.item_id, each.criterion) for each in answer.verdicts] == [
        (item, criterion) for item in ("1", "x", "3") for criterion in ("exact", "overlap:rouge_l")
    ]
    assert [each.score for each in answer.verdicts[:4]] == [1.0, 1.0, 0.0, 0.75]
    for each in answer.verdicts[4:]:
        assert (each.outcome, each.HasField("score")) == (judging_pb2.OUTCOME_ABSTAINED, False)
        assert "no reference" in each.failure.message
