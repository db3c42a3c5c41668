"""What the tests of audits share: answers to judge, and simulated judges asked without any time passing."""

import random
from collections.abc import Sequence

from msgspec.structs import replace
from tests.server.judge.bench import rubric

from whet_server.audit.report import report
from whet_server.audit.variants import design
from whet_server.judge import prompts
from whet_server.judge.asking import Question, parameters_of, questions
from whet_server.judge.reading import Wrong, read
from whet_server.judge.rubric import Rubric
from whet_server.judging import AuditAxis, AuditReport, Item, Judge, JudgeMode, Outcome, Verdict
from whet_server.llm.sim import parse
from whet_server.llm.sim.prose import answer
from whet_server.values import ModelName, Parameters

AXES = tuple(AuditAxis)
_TOPICS = (
    ("Why does the pump lose pressure after an hour?", "pump pressure valve heat seal"),
    ("How do I make the nightly backup finish before six?", "backup nightly disk schedule network"),
    ("Why do the seedlings on the north window die?", "seedling window light water frost"),
    ("Should we cache the search results of the shop?", "cache search result shop memory"),
)
_SENTENCES = (
    "The {a} fails because the {b} changes, which leads to a loss.",
    "First measure the {a} for {n} minutes, then compare it with the {b}.",
    "About {n} percent of the cases come from the {a}.",
    "Check the {b} next and record what happens.",
    "The {a} is near the {b}.",
    "If the {b} stays the same, the {a} is not the cause.",
    "Nobody likes a {a} that fails.",
)


def items(count: int, seed: int = 0, candidates: int = 1) -> tuple[Item, ...]:
    """Return items with answers of all qualities."""
    dice = random.Random(seed)
    made: dict[tuple[str, ...], Item] = {}
    while len(made) < count:
        asked, words = dice.choice(_TOPICS)
        texts = tuple(_text(dice, words.split()) for _ in range(candidates))
        made.setdefault(texts, Item(item_id=f"row-{len(made)}", input=asked, candidates=texts))
    return tuple(made.values())


def _text(dice: random.Random, words: Sequence[str]) -> str:
    chosen = dice.sample(_SENTENCES, dice.randint(1, 5))
    return " ".join(
        sentence.format(a=dice.choice(words), b=dice.choice(words), n=dice.randint(2, 90)) for sentence in chosen
    )


def judged(asked: Question) -> Verdict:
    """Return what a simulated judge says, without a call."""
    mode, by = asked.judge.mode, asked.rubric
    told = prompts.messages(asked.item, by, mode, asked.order)
    schema = prompts.schema(by, mode, len(asked.order))
    said = answer(parse(asked.model), told, parameters_of(asked.judge).over(Parameters(json_schema=schema)))
    ended = Verdict(
        item_id=asked.item.item_id,
        criterion=asked.criterion,
        outcome=Outcome.UNPARSEABLE,
        judge=asked.model,
        order=() if mode is JudgeMode.POINTWISE else asked.order,
        simulated=True,
    )
    try:
        found = read(said, asked.item, by, mode, asked.order)
    except Wrong:
        return ended
    if found.score is None:
        return replace(ended, outcome=Outcome.ABSTAINED)
    return replace(
        ended,
        outcome=Outcome.SCORED,
        score=found.score,
        value=found.value,
        ranking=found.ranking,
        tie=found.tie,
    )


def audit(
    model: str,
    *,
    mode: JudgeMode = JudgeMode.POINTWISE,
    axes: Sequence[AuditAxis] = AXES,
    count: int = 40,
    seed: int = 0,
    by: Rubric | None = None,
) -> AuditReport:
    """Audit a simulated judge."""
    judge = Judge(models=(ModelName(model),), mode=mode)
    pairs = Judge(models=judge.models, mode=JudgeMode.PAIRWISE)
    by = by or rubric()
    planned = design(
        items(count, seed, candidates=1 if mode is JudgeMode.POINTWISE else 2), axes, mode, ModelName(model)
    )
    verdicts = [
        judged(question)
        for item in planned.items
        for question in questions(item, "audit", judge if len(item.candidates) == 1 else pairs, by)
    ]
    return report(planned.comparisons, verdicts, axes)
