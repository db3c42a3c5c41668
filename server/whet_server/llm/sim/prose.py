"""What a simulated model says: plain English about the question's own words, made from templates and a seed.

A judge judges (see `judge`). Asked for a synthesis, a model writes with the sentences of the answers (see `synthesis`).
Else the claims and their numbers come from the question alone, so that different models agree on most of them; the seed
chooses among them and moves some numbers, and a model that contradicts denies the claim that all the others open with.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from whet_server.llm.sim.classify import label
from whet_server.llm.sim.judge import verdict
from whet_server.llm.sim.model import PREFIX, SimModel, Stance
from whet_server.llm.sim.synthesis import answers_in, sentences_of
from whet_server.llm.sim.topic import topic
from whet_server.values import Message, Parameters, Speaker

_CENTRAL: Final = (
    (
        "As for {t}, the simple approach is enough for most people.",
        "As for {t}, the simple approach is not enough for most people.",
    ),
    (
        "As for {t}, the order in which things are done matters more than the tools.",
        "As for {t}, the order in which things are done does not matter more than the tools.",
    ),
    (
        "As for {t}, one cause explains most of what people see.",
        "As for {t}, one cause does not explain most of what people see.",
    ),
    (
        "As for {t}, the common explanation holds up well when it is put to the test.",
        "As for {t}, the common explanation never holds up well when it is put to the test.",
    ),
)
"""What every model opens with, and the same denied."""

_CLAIMS: Final = (
    "About {n} percent of the trouble comes from assumptions that nobody wrote down.",
    "Most people need roughly {n} days before {s} feels natural.",
    "A common mistake is to start with the exceptions and to learn the rule last.",
    "It helps to try a small example first and to check the result by hand.",
    "The effort is spent early, and the benefit shows after about {n} weeks.",
    "There are {n} cases worth knowing, and two of them cover nearly everything.",
    "A good account of {s} begins with a problem and arrives at the definition at the end.",
    "The usual objection is that it looks harder than it is.",
    "Older texts use other names for the same three parts.",
    "Measuring before and after says more about {s} than any argument.",
    "People who write down what they expect report about {n} percent fewer surprises.",
    "The limits show up when the input grows by a factor of {n}.",
)
"""Claims of which each question gets its own few; a number in them is the question's, or the model's own."""

_CORE: Final = 5
"""So many claims belong to a question: enough to agree on, few enough that short answers overlap."""

_OPENERS: Final = (
    "Seen more closely,",
    "In everyday work,",
    "For a beginner,",
    "On a larger scale,",
    "As a rule of thumb,",
    "Historically,",
    "With some experience,",
    "Under time pressure,",
    "On the other hand,",
    "When in doubt,",
)
_ASPECTS: Final = (
    "the first step",
    "the hardest part of {s}",
    "the vocabulary",
    "a good example",
    "the boundary of {s}",
    "the reasoning",
    "a second look",
    "the part about {k}",
    "the link to {k}",
)
_PREDICATES: Final = (
    "takes less time than expected",
    "deserves a note of its own",
    "is easier to show than to describe",
    "settles about {n} percent of the open questions",
    "tends to be underestimated",
    "stays the same from one case to the next",
    "depends on who is asking",
    "can wait until the basics are clear",
    "is where opinions differ most",
    "pays off after {n} attempts or so",
)


def answer(sim: SimModel, messages: Sequence[Message], parameters: Parameters) -> str:
    """Return an answer to the last message of the user, or the synthesis it asks for: at least one whole sentence, at
    most `sim.tokens` words if that allows it.
    """
    if sim.classifier is not None:
        return label(sim.classifier, sim.seed, messages, parameters)
    if sim.manner is not None:
        judged = verdict(sim.manner, f"{PREFIX}{sim.name}", sim.seed, messages, parameters)
        if judged is not None:
            return judged
    if answers := answers_in(messages):
        return _whole(sentences_of(answers), sim.tokens)
    question = _question(messages)
    shared = _dice(question.lower())
    own = _dice(f"{sim.seed}/{parameters.seed}/{parameters.temperature}/{[m.content for m in messages]}")
    return _whole(_sentences(question, sim.stance, shared, own), sim.tokens)


def _whole(sentences: Iterable[str], most: int) -> str:
    """Join whole sentences up to `most` words, in paragraphs of five."""
    chosen: list[str] = []
    left = most
    for sentence in sentences:
        left -= len(sentence.split())
        if chosen and left < 0:
            break
        chosen.append(sentence)
    return "\n\n".join(" ".join(chosen[at : at + 5]) for at in range(0, len(chosen), 5))


def _dice(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 -- nothing is kept secret with it; the same seed must give the same text


def _question(messages: Sequence[Message]) -> str:
    return next((message.content for message in reversed(messages) if message.role is Speaker.USER), "")


def _sentences(question: str, stance: Stance, shared: random.Random, own: random.Random) -> Iterator[str]:
    """The claim all share, then the question's claims in an order of one's own, then ever more detail."""
    about = topic(question)
    says, denies = shared.choice(_CENTRAL)
    yield (denies if stance is Stance.CONTRADICTS else says).format(t=about.phrase)
    core = [(claim, shared.randrange(2, 9) * 5) for claim in shared.sample(_CLAIMS, _CORE)]
    own.shuffle(core)
    for claim, number in core:
        yield claim.format(s=about.noun, n=number if own.random() < 0.5 else number + own.randrange(1, 9))
    while True:
        frame = f"{own.choice(_OPENERS)} {own.choice(_ASPECTS)} {own.choice(_PREDICATES)}."
        yield frame.format(s=about.noun, k=own.choice(about.words or ("the context",)), n=own.randrange(3, 60))
