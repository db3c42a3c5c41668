"""What the synthesiser is told: the question and the branches' answers, wrapped as data.

Answers stand between marks that no answer can close (`fence.py`). Equal answers are given once. When the answers are
longer than the budget, the longest are shortened first, until what is left fits: a short answer is never cut to make
room for a long one. The question and the draft so far have shares beside the budget and are cut in their middle.
"""

from collections.abc import Mapping, Sequence
from string import Template
from typing import Final

import whet_prompts
from whet_server.fanout.fence import Fence
from whet_server.log.events import BranchFinished
from whet_server.values import BranchId, Message, ModelName, Speaker

DRAFT_CHARACTERS: Final = 12_000
"""All answers together, about 3,500 tokens: a model with a window of 8,192 keeps room for the question, the draft so
far and its own answer."""
LOCAL_DRAFT_CHARACTERS: Final = 4_000
"""About a thousand tokens: the local model reads them in four seconds on two cores, and has room for its answer."""
LEAST_SHARE: Final = 120
"""Characters that every answer keeps however many there are: below a sentence an answer says nothing."""
_QUESTION_SHARE: Final = 2 / 3
"""The question's share beside the answers: the branches had all of it, the synthesiser needs its beginning and end."""
_PREVIOUS_SHARE: Final = 1 / 2
"""The same for the draft so far; a revision that loses the middle of it still has every answer before it."""
_CUT: Final = " [...] "


def draft_budget(drafter: ModelName | None) -> int:
    """Return how many characters of all answers together this model is shown."""
    return LOCAL_DRAFT_CHARACTERS if drafter is not None and drafter.startswith("local/") else DRAFT_CHARACTERS


def question_text(messages: Sequence[Message]) -> str:
    """Return a conversation as one text: a lone user message as it is, else every message under its speaker."""
    if len(messages) == 1 and messages[0].role is Speaker.USER:
        return messages[0].content
    return "\n\n".join(f"{message.role.value}: {message.content}" for message in messages)


def draft_messages(
    messages: Sequence[Message],
    answers: Sequence[BranchFinished],
    *,
    previous: str = "",
    budget: int = DRAFT_CHARACTERS,
) -> tuple[Message, ...]:
    """Return the messages that ask for a draft, or for a revision of `previous` when there is one."""
    fence = fence_of(answers, previous)
    system, _, user = whet_prompts.load("revise" if previous else "draft").text.partition("\n---\n")
    filled = {
        "fence": fence.name,
        "question": _ends(question_text(messages), int(budget * _QUESTION_SHARE)),
        "previous": fence.around("draft", _ends(previous, int(budget * _PREVIOUS_SHARE))),
        "answers": _wrapped(answers, fence, budget),
    }
    return (
        Message(role=Speaker.SYSTEM, content=Template(system).substitute(filled)),
        Message(role=Speaker.USER, content=Template(user).substitute(filled)),
    )


def fence_of(answers: Sequence[BranchFinished], previous: str = "") -> Fence:
    """Return the fence for a draft from these texts."""
    return Fence([*(answer.text for answer in answers), previous])


def digests() -> Mapping[str, str]:
    """Return the digest of every prompt a synthesis may use: a plan holds for these words only."""
    return {name: whet_prompts.load(name).digest for name in ("draft", "revise")}


def _wrapped(answers: Sequence[BranchFinished], fence: Fence, budget: int) -> str:
    """Return the answers between fences, equal ones together under all their branches' names."""
    speakers: dict[str, list[BranchId]] = {}
    for answer in answers:
        speakers.setdefault(answer.text.strip(), []).append(answer.branch_id)
    share = fair_share([len(text) for text in speakers], max(budget, LEAST_SHARE * len(speakers)))
    return "\n\n".join(
        fence.around("answer", _ends(text, share), source=" ".join(names)) for text, names in speakers.items()
    )


def fair_share(lengths: Sequence[int], budget: int) -> int:
    """Return the length to which each text may be cut so that all together fit `budget`: the water level of what
    short texts leave to long ones.
    """
    left, waiting = budget, len(lengths)
    for length in sorted(lengths):
        if length * waiting > left:
            return left // waiting
        left -= length
        waiting -= 1
    return max(lengths, default=0)


def _ends(text: str, limit: int) -> str:
    """Return the text, or when it is too long two thirds of `limit` from its beginning and the rest from its end."""
    if len(text) <= limit:
        return text
    head = max(1, (limit - len(_CUT)) * 2 // 3)
    tail = max(0, limit - len(_CUT) - head)
    return text[:head] + _CUT + (text[-tail:] if tail else "")
