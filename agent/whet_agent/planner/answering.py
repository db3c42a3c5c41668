"""What a person answers to a sweep that is proposed: yes, no, another way, or the data set that was asked for.

What has become of the wish is read again from everything that was said since it, so that nothing has to be kept beside
the conversation. Only a plain yes starts anything, and it starts what was shown.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from whet_agent.planner import wishing
from whet_agent.planner.commands import PROPOSE
from whet_agent.planner.plan import (
    START,
    WHICH,
    Follow,
    Plan,
    Propose,
    Say,
    Situation,
    Start,
    chosen,
    question_of,
)
from whet_agent.proposing import Wish

_YES: Final = re.compile(
    r"(?:(?:yes|y|yep|yeah|sure|ok|okay|please|go|go ahead|go on|do it|do that|start|start it"
    r"|start that|run it|run|launch it|approved?|agreed|fine|good|great|looks good|now|then|and)\b[\s,.!]*)+",
    re.IGNORECASE,
)
_NO: Final = re.compile(
    r"(?:no|n|nope|never ?mind|drop it|forget it|leave it|cancel|cancel it|stop|do not|don'?t|not now|do not start it"
    r"|don'?t start it|no,? thanks?|no,? thank you)[\s,.!]*",
    re.IGNORECASE,
)
_CHANGING: Final = re.compile(
    r"(?:(?:ok|yes|no|but|and|please)[, ]+)*(?:with|without|only|just|use|using|make|add|also|leave|keep|change|drop"
    r"|at most|up to|fewer|more|less|let|give|try|instead|on)\b",
    re.IGNORECASE,
)
_NAME: Final = re.compile(
    r"(?:(?:it'?s|on|over|for|use|the|my|our|data ?set|called|please)\s+)*(?P<name>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)"
    r"(?:[\s,]+(?:data ?set|please))*[\s.!]*",
    re.IGNORECASE,
)
_PROPOSING: Final = re.compile(rf"/{PROPOSE}\b\s*", re.IGNORECASE)
_CHANGES: Final = "It can have: trials, money, time, models, cases, what may vary, the search, the hold-out."


def read(text: str, situation: Situation) -> Plan | None:
    """Read what is said to an open question about a sweep; None for a sentence that is about something else."""
    question, bare = question_of(situation.last_said), text.strip()
    if question == WHICH:
        named = _name(bare) and not _NO.fullmatch(bare)
        return _wished((*situation.talk, (WHICH, text)), situation) if named else None
    return _decided(bare, situation) if question == START else None


def _decided(text: str, situation: Situation) -> Plan | None:
    """Read a yes, a no or a change of the sweep that was shown."""
    behind = any(wishing.BEHIND.search(each) for each in (*(said for _, said in situation.talk), text))
    if _YES.fullmatch(wishing.BEHIND.sub("", text).strip(" ,")):
        return Start(spec=situation.proposed, behind=behind)
    if _NO.fullmatch(text):
        return Say(text="Dropped. Nothing was started.")
    now, then = (_wished(talk, situation) for talk in (situation.talk, (*situation.talk, (START, text))))
    if then is None or then == now:
        unclear = f"I did not understand that change. {_CHANGES} Nothing has changed. {START}"
        return Say(text=unclear) if _CHANGING.match(text) else None
    return then


def _wished(talk: Sequence[tuple[str, str]], situation: Situation) -> Propose | Follow | None:
    """Return what a wish has come to with all that was said after it."""
    (before, first), *answers = talk
    plan = _begun(chosen(first, before), situation)
    if plan is None:
        return None
    wish = plan.wish if isinstance(plan, Propose) else Wish(dataset="")
    for said, answer in answers:
        if question_of(said) == WHICH and (name := _name(answer)):
            wish = replace(wish, dataset=name)
        else:
            wish = wishing.changed(wish, answer) or wish
    if isinstance(plan, Propose):
        return replace(plan, wish=wish)
    budget = {"money": wish.money, "trials": wish.trials, "time": wish.seconds}
    return replace(plan, budget={name: value for name, value in budget.items() if value})


def _begun(first: str, situation: Situation) -> Propose | Follow | None:
    """Read the wish itself: in words, as a command, or the step of a chain that was planned."""
    if proposing := _PROPOSING.match(first):
        return wishing.read_command(first[proposing.end() :], situation)
    plan = wishing.read(first, situation)
    if isinstance(plan, Propose):
        return plan
    chain = situation.proposed.get("chain", {})
    return Follow(run_id=chain["parent_run_id"], step=chain["step"]) if "parent_run_id" in chain else None


def _name(text: str) -> str:
    """Return the name that an answer consists of; empty when it says something else."""
    found = _NAME.fullmatch(text.strip())
    return found["name"].lower() if found else ""
