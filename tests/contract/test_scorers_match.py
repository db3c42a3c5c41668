from typing import get_args

import pytest

from whet.v1 import scorer_pb2
from whet_server.rpc.convert.mirror import message_of
from whet_server.rpc.convert.scorer import scorer_of
from whet_server.score import remote, spec
from whet_server.score.kinds import ScorerInfo
from whet_server.score.spec import Scorer, kind_of
from whet_server.values import ModelName, Nanos, Value

KINDS = {kind_of(kind): kind for kind in get_args(Scorer)}


def test_there_is_a_value_for_every_kind_of_scorer() -> None:
    fields = scorer_pb2.Scorer.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert list(KINDS) == [field.name for field in fields]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((kind, kind.__name__) for kind in KINDS.values()),
        (spec.Normalisation, "Normalisation"),
        (remote.Offer, "ScorerOffer"),
        (remote.Answer, "ScorerAnswer"),
        (remote.Task, "ServeScorerResponse"),
    ],
)
def test_a_scorer_and_its_value_have_the_same_fields(value: type[Value], message: str) -> None:
    names = {name.removesuffix("_ns") for name in value.__struct_fields__}
    assert names == {field.name for field in scorer_pb2.DESCRIPTOR.message_types_by_name[message].fields}


def test_what_is_listed_of_a_scorer_is_on_the_wire() -> None:
    wire = {field.name for field in scorer_pb2.ScorerInfo.DESCRIPTOR.fields}
    assert wire - set(ScorerInfo.__struct_fields__) == {"settings_schema"}


def test_the_metrics_have_the_words_of_the_wire() -> None:
    prefix = "OVERLAP_METRIC_"
    wire = {name.removeprefix(prefix).lower() for name in scorer_pb2.OverlapMetric.keys() if "UNSPECIFIED" not in name}  # noqa: SIM118 -- an enum of protobuf is no dict
    assert wire == set(spec.OverlapMetric)


@pytest.mark.parametrize(
    "scorer",
    [
        spec.KeywordsScorer(present=("a",), absent=("b",), normalisation=spec.Normalisation(ignore_articles=True)),
        spec.OverlapScorer(metric=spec.OverlapMetric.TER),
        spec.LatencyScorer(target_ns=1_500_000_000, limit_ns=4_000_000_000),
        spec.CostScorer(target=Nanos(5), limit=Nanos(10)),
        spec.RemoteScorer(name="mine", timeout_ns=1_000_000, settings="{}"),
        spec.EmbeddingScorer(model=ModelName("a/b")),
    ],
)
def test_a_scorer_comes_back_from_the_wire_as_it_was(scorer: Scorer) -> None:
    kind = kind_of(scorer)
    inside = message_of(scorer, getattr(scorer_pb2, type(scorer).__name__))
    assert scorer_of(scorer_pb2.Scorer(**{kind: inside})) == scorer
