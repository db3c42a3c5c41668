"""Questions for models: what is asked, whom, and what it stands on.

Most of what a person says is a plain question; it goes to the workspace's panel as it is. Some say whom to ask, or
that they only want to know the price.
"""

import re
from collections.abc import Sequence
from typing import Final

from whet_agent.json_object import JsonObject
from whet_agent.planner.extract import NUMBERS
from whet_agent.planner.plan import Call, Plan, Say, Situation

ANSWER_CHARACTERS: Final = 4_000
"""Of the last answer, when a question follows it up: small models have small contexts."""

FOLLOW_UP_WORDS: Final = 12
"""A longer sentence with an `it` in it usually brings what `it` means along."""

_PLEASE: Final = r"(?:please |can you |could you |would you |i want (?:you )?to |let's |now )*"
_COUNT: Final = rf"(?:\d+|{'|'.join(NUMBERS)}|all|every|several|some|a few|many|both|different|various)"
_MODEL: Final = r"[a-z0-9-]+/[^\s,:]+(?::[^\s,:]+)*"
_WHOM: Final = (
    r"(?P<whom>every(?:one|body| model)|(?:the )?panel|all of them|all(?=:)"
    rf"|(?:{_COUNT} )?(?:of )?(?:the |my |different )*models?"
    rf"|{_MODEL}(?:(?:,| and|, and) {_MODEL})*)"
)
_ALL: Final = r"(?P<whom>(?:all |the )*(?:models|panel|everyone))"
_THIS: Final = re.compile(
    r"(?:about |to |for )?(?:this|that|it|the same|this question|this prompt|again)?\W*", re.IGNORECASE
)

_FORMS: Final = tuple(
    re.compile(rf"{_PLEASE}{form}", re.IGNORECASE | re.DOTALL)
    for form in (
        rf"(?:ask|query|poll) {_WHOM},?:? (?P<q>.+)",
        rf"(?:let me |i'd like to )?hear from {_WHOM},? (?P<q>.+)",
        rf"put (?:this|the|the following) (?:question|prompt) to {_WHOM}: ?(?P<q>.+)",
        (
            r"(?:compare )?what (?:(?:do|would|will) )?(?:the |all )?(?P<whom>(?:\w+ )?models) "
            r"(?:say|think|answer|reply)(?: about| on| to)? ?(?P<q>.*)"
        ),
        rf"(?:get|give me|collect) (?P<whom>{_COUNT}) (?:opinions|answers|views|takes) (?:on|about|to|for) (?P<q>.+)",
        rf"(?:fan|send) (?:this |the following |it )?(?:(?:prompt|question) )?(?:out )?(?:to {_ALL})?: ?(?P<q>.+)",
        rf"fan (?P<q>this|that|it)(?: \w+)? out(?: to {_ALL})?",
    )
)
_ASKING: Final = rf"(?:(?:asking|asked|ask|running|run) ?(?:{_WHOM})?:? ?)?"
_PRICE: Final = tuple(
    re.compile(rf"(?:before you (?:do|run) it[:,] )?{_PLEASE}{form}", re.IGNORECASE | re.DOTALL)
    for form in (
        (
            r"(?:(?:what|how much) (?:would|will|does|do) it cost(?: me)? (?:to )?"
            r"|(?:what|how much) (?:would|will) (?:i|we) pay (?:to |for |if (?:i|we) )"
            r"|how expensive (?:is it to|would it be to|is) "
            r"|(?:give me )?(?:an? )?(?:(?:cost|price) )?estimate(?: the)?(?: price| cost)?(?: of| to| for)?:? "
            rf"|plan (?:a )?fan-?out(?: over [\w ]+?)?(?::| for| on)? ?){_ASKING}(?P<q>.*)"
        ),
        rf"(?:what|how much) (?:would|will|does) {_ASKING}(?P<q>.+) cost(?: me| us)?\W*",
    )
)
_BACKGROUND: Final = re.compile(
    r"^bg(?= ?:)|[,;.]?\s*\b(?:(?:and )?(?:do not|don't) wait(?: for (?:them|it|the answers?))?"
    r"|in the background|and let me go on|without waiting)\b",
    re.IGNORECASE,
)
_START: Final = re.compile(
    r"(?:(?:start|kick off|run|launch|ask)\b(?: (?:a fan-?out|this question|the question|it|this|that))?"
    r" ?(?::| with| on| about)?|bg ?:) ?(?P<q>.*)",
    re.IGNORECASE | re.DOTALL,
)
_NOTHING: Final = re.compile(rf"{_PLEASE}(?:ask|query|poll) {_WHOM}(?: please)?\W*", re.IGNORECASE)
"""Whom to ask, and not what."""
_QUOTED: Final = re.compile(r"[\"“](?P<q>[^\"”]{3,})[\"”]")

_FOLLOW_UP: Final = re.compile(
    r"(?:and|but|so|then|also|why(?: not)?(?=\W*$)|really|no,|yes,|ok,|what about|how about|shorter|longer|again|more"
    r"|simpler|in (?:german|english|french|spanish|one|two|three)|translate|summari[sz]e|explain (?:it|that|this)"
    r"|give (?:me )?(?:an? )?(?:another )?example)\b",
    re.IGNORECASE,
)
_POINTS_BACK: Final = re.compile(
    r"\b(?:it|they|them|those|these|he|she|him|her|its|their|the (?:first|second|last) one|th(?:at|is)(?=\W*$))\b",
    re.IGNORECASE,
)


def explicit(text: str, situation: Situation) -> Plan | None:
    """Return the call of a sentence that says itself that models are to be asked, or None."""
    for price in _PRICE:
        priced = price.fullmatch(text)
        if priced is not None and (priced["q"] or priced["whom"] or situation.question):
            return _spec_call("plan_fanout", priced["q"], priced["whom"] or "", text, situation)
    if _NOTHING.fullmatch(text):
        return _spec_call("fanout", "", "", text, Situation())
    behind = _BACKGROUND.search(text)
    if behind is not None:
        rest = (text[: behind.start()] + text[behind.end() :]).strip(" .,;:")
        return _in_background(rest, situation)
    for form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            return _spec_call("fanout", found["q"], found["whom"] or "", text, situation)
    return None


def plain(text: str, situation: Situation) -> Call:
    """Return the fan-out of a plain question to the panel, with the last exchange when it follows one up."""
    return Call(tool="fanout", arguments={"spec": _spec(text, situation)})


def _in_background(rest: str, situation: Situation) -> Plan:
    for form in _FORMS:
        found = form.fullmatch(rest)
        if found is not None:
            return _spec_call("start_fanout", found["q"], found["whom"] or "", rest, situation)
    started = _START.fullmatch(rest)
    return _spec_call("start_fanout", started["q"] if started else rest, "", rest, situation)


def _spec_call(tool: str, question: str, whom: str, text: str, situation: Situation) -> Plan:
    quoted = _QUOTED.search(text)
    question = quoted["q"] if quoted else question.strip(" :")
    if _THIS.fullmatch(question) or not re.sub(r"(?i)please|\W", "", question):
        if not situation.question:
            return Say(text="What should be asked? Say the question in the same sentence.")
        question = situation.question
    else:
        question = re.sub(r"^about\s+", "Tell me about ", question)
        question = re.sub(r"^to\s+(?=\w+ )", "", question)
    spec = _spec(question, situation)
    models = _models(whom, situation)
    return Call(tool=tool, arguments={"spec": spec | ({"models": models} if models else {})})


def _models(whom: str, situation: Situation) -> Sequence[str]:
    """Return the models that are meant; none means the whole panel, with its personas."""
    named = re.findall(r"[a-z0-9-]+/[^\s,]+", whom)
    if named:
        return named
    word = whom.split(" ", maxsplit=1)[0].lower()
    count = int(word) if word.isdigit() else NUMBERS.get(word, 0)
    return situation.panel[:count] if 0 < count < len(situation.panel) else ()


def _spec(question: str, situation: Situation) -> JsonObject:
    if not (situation.answer and _follows_up(question)):
        return {"prompt": question}
    return {
        "messages": [
            {"role": "user", "content": situation.question},
            {"role": "assistant", "content": situation.answer[:ANSWER_CHARACTERS]},
            {"role": "user", "content": question},
        ]
    }


def _follows_up(question: str) -> bool:
    if _FOLLOW_UP.match(question):
        return True
    return len(question.split()) <= FOLLOW_UP_WORDS and _POINTS_BACK.search(question) is not None
