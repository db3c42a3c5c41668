"""Happenings for scenes and tests: a fan-out to three branches, told event by event."""

from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from whet.v1 import event_pb2, value_pb2

RUN = "fan_01JABCDEFG"

TEXTS = {
    "b1": "A monad chains steps. It has unit and bind. There are three laws.",
    "b2": "Monads chain computations. They have 2 operations. There are 4 laws.",
    "b3": "A monad is a burrito. It has unit and bind.",
}
MODELS = {"b1": "local/smollm2", "b2": "sim/fast", "b3": "sim/slow"}
ANSWER = "A monad chains steps. It has unit and bind. Nobody is sure of the laws."

Event = event_pb2.Event


class Teller:
    """Numbers durable events and gives them a time."""

    def __init__(self, opened_at: int = 1_000) -> None:
        self._sequence = 0
        self._time = opened_at

    def durable(self, **payload: object) -> Event:
        self._sequence += 1
        self._time += 1
        return Event(sequence=self._sequence, event_time=Timestamp(seconds=self._time), **payload)  # type: ignore[arg-type]

    def live(self, **payload: object) -> Event:
        return Event(event_time=Timestamp(seconds=self._time), **payload)  # type: ignore[arg-type]


def pieces(text: str, size: int = 6) -> Iterator[tuple[int, str]]:
    """Cut a text into pieces with their offsets."""
    for offset in range(0, len(text), size):
        yield offset, text[offset : offset + size]


def opened(teller: Teller) -> Event:
    plans = [
        event_pb2.BranchPlan(branch_id=branch, model=model, sample=1, simulated=model.startswith("sim/"))
        for branch, model in MODELS.items()
    ]
    return teller.durable(
        run_opened=event_pb2.RunOpened(
            run_id=RUN,
            kind=event_pb2.RUN_KIND_FANOUT,
            title="What is a monad?",
            role="agent",
            branches=plans,
            prompt="What is a monad?",
            synthesis="draft",
        )
    )


def branch(teller: Teller, branch_id: str, *, cut: bool = False) -> Iterator[Event]:
    """One branch from waiting to its end."""
    text = TEXTS[branch_id]
    state = event_pb2.BranchState
    for progress, detail, fraction in (
        (state.BRANCH_STATE_WAITING, "", 0.0),
        (state.BRANCH_STATE_LOADING, "loading the model", 0.42),
        (state.BRANCH_STATE_ASKED, "", 0.0),
        (state.BRANCH_STATE_STREAMING, "", 0.0),
    ):
        yield teller.live(
            branch_progress=event_pb2.BranchProgress(
                branch_id=branch_id, state=progress, detail=detail, fraction=fraction
            )
        )
    for offset, piece in pieces(text):
        yield teller.live(branch_delta=event_pb2.BranchDelta(branch_id=branch_id, offset=offset, text=piece))
    failure = value_pb2.Failure(code=14, message="The stream was cut. Ask again.", transient=True)
    yield teller.durable(
        branch_finished=event_pb2.BranchFinished(
            branch_id=branch_id,
            state=state.BRANCH_STATE_PARTIAL if cut else state.BRANCH_STATE_DONE,
            text=text[:20] if cut else text,
            model=MODELS[branch_id],
            failure=failure if cut else None,
            usage=value_pb2.Usage(input_tokens=12, output_tokens=16),
            totals=value_pb2.Totals(settled=value_pb2.Money(nanos=0 if branch_id == "b1" else 410_000)),
            latency=Duration(seconds=1, nanos=200_000_000),
            first_token_latency=Duration(nanos=120_000_000),
            simulated=MODELS[branch_id].startswith("sim/"),
        )
    )


def draft(teller: Teller, revision: int, branch_ids: list[str], text: str, *, final: bool = False) -> Iterator[Event]:
    """One revision of the synthesis."""
    yield teller.durable(
        draft_started=event_pb2.DraftStarted(
            revision=revision, reset=revision > 1, branch_ids=branch_ids, model="sim/fast", final=final
        )
    )
    for offset, piece in pieces(text):
        yield teller.live(draft_delta=event_pb2.DraftDelta(revision=revision, offset=offset, text=piece))
    yield teller.durable(
        draft_ended=event_pb2.DraftEnded(
            revision=revision, state=event_pb2.BRANCH_STATE_DONE, text=text, model="sim/fast", simulated=True
        )
    )


def ending(teller: Teller) -> Iterator[Event]:
    """The alignment and the end of the run."""

    def span(branch_id: str, start: int = 0, end: int = 5) -> event_pb2.Span:
        return event_pb2.Span(branch_id=branch_id, start=start, end=end, score=0.9)

    sentences = [
        event_pb2.SupportedSentence(start=0, end=21, support=[span("b1"), span("b2")]),
        event_pb2.SupportedSentence(start=22, end=43, support=[span("b3")]),
        event_pb2.SupportedSentence(start=44, end=len(ANSWER)),
    ]
    yield teller.durable(
        synthesis_finished=event_pb2.SynthesisFinished(
            state=event_pb2.BRANCH_STATE_DONE,
            text=ANSWER,
            revision=2,
            branch_ids=list(MODELS),
            sentences=sentences,
            sole_claims=[event_pb2.SoleClaim(span=span("b3"), text="A monad is a burrito.")],
            contradictions=[
                event_pb2.Contradiction(
                    left=span("b1"),
                    right=span("b2"),
                    left_text="There are three laws.",
                    right_text="There are 4 laws.",
                    kind="number",
                )
            ],
            simulated=True,
        )
    )
    yield teller.durable(
        run_finished=event_pb2.RunFinished(
            state=event_pb2.RUN_STATE_PARTIAL,
            totals=value_pb2.Totals(
                settled=value_pb2.Money(nanos=1_230_000),
                unknown=value_pb2.Money(nanos=500_000),
                usage=value_pb2.Usage(input_tokens=120, output_tokens=310),
                attempts=5,
            ),
            latency=Duration(seconds=3, nanos=400_000_000),
        )
    )


def fanout(opened_at: int = 1_000) -> Iterator[Event]:
    """The whole run: the third branch is cut, the draft is revised once."""
    teller = Teller(opened_at)
    yield opened(teller)
    yield from branch(teller, "b1")
    yield from branch(teller, "b2")
    yield from draft(teller, 1, ["b1", "b2"], "A monad chains steps.")
    yield from branch(teller, "b3", cut=True)
    yield from draft(teller, 2, ["b1", "b2"], ANSWER, final=True)
    yield from ending(teller)
