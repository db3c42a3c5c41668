"""Decide what a plain sentence asks for: one tool, a question for the panel, or not clear enough.

A wrong guess must not spend or change anything. What changes something needs an imperative verb and a noun of the
tool's own before the embeddings are asked, and still goes through a person's approval. What reads needs a clear
winner. In between the planner asks back. Everything else is a question for the panel.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.planner import asking
from whet_agent.planner.commands import help_text, usage_of
from whet_agent.planner.extract import RUN_ID, arguments, missing, money, period
from whet_agent.planner.match import Likeness, Matcher
from whet_agent.planner.plan import Call, Plan, Say, Situation

CLEAR: Final = 0.62
"""Above this likeness a reading tool is meant, if no other comes near. Set on the table of utterances in the tests,
as are the next three.
"""
MARGIN: Final = 0.05
DOUBTFUL: Final = 0.48
"""Between this and CLEAR it may be meant: ask back."""
DOUBTFUL_OF_OURS: Final = 0.33
"""The same for what I or we did, or a run, of which no model could know."""
NEAR: Final = 0.15
"""How much less like a tool may be that fits the arguments better."""
CHANGE: Final = 0.40
"""For a tool that changes something, after its verb and its noun have been found."""

_VERBS: Final[Mapping[str, str]] = {
    "put_cap": "set limit raise lower change increase decrease cap put make reduce restrict",
    "delete_cap": "remove delete drop lift",
    "cancel_fanout": "cancel stop abort kill end halt",
    "put_endpoint": "add configure change set connect register update create",
    "delete_endpoint": "remove delete drop disconnect",
    "clear_cache": "clear empty forget delete purge flush reset wipe",
}
_NOUNS: Final[Mapping[str, str]] = {
    "put_cap": r"caps?|limits?|budget|spending|me",
    "delete_cap": r"caps?|limits?|budget",
    "cancel_fanout": r"runs?|fan-?outs?|question|it|that|everything",
    "put_endpoint": r"endpoints?|providers?|https?://\S+|openrouter|ollama|rate limit",
    "delete_endpoint": r"endpoints?|providers?",
    "clear_cache": r"caches?|cached answers",
}
_PLEASE: Final = re.compile(
    r"(?:(?:please|can you|could you|would you|i want to|i'd like to|now|ok|just)[, ]+)+", re.IGNORECASE
)
_GENERAL: Final = re.compile(
    r"(?:how (?:do|does|can|could|would|should|to|many|far|long|old)|why|explain|define|describe|write|compose"
    r"|translate|summari[sz]e|tell me|give me an?|who|what does an?"
    r"|what (?:is|are|was|were|does|do|would|should) "
    r"(?:an? |\w+ mean|the (?:meaning|difference|point|best|capital)))\b",
    re.IGNORECASE,
)
_LIMITING: Final = re.compile(
    r"\b(?:(?:no|not|never) more|at most|up to|max(?:imum)?|less|under|below|within|over|limit|cap|budget|enough"
    r"|spend(?:ing)?)\b",
    re.IGNORECASE,
)
_LIMIT_WORDS: Final = 14
"""A longer sentence with an amount in it is about something else."""
_SPENDING: Final = re.compile(r"\b(?:limit|cap|budget|spend(?:ing)?)\b", re.IGNORECASE)
_WE_DID: Final = re.compile(
    r"\b(?:did|have|had) (?:i|we)\b|\b(?:i|we) (?:have|had|did|paid|spent|asked|ran)\b", re.IGNORECASE
)
_COMMON: Final = (
    "a an the my our your is are was were do does did have has what which who how much many of to for in on at and "
    "or with show list give me i we you it this that there any all last latest be can could please from by into"
)
_ASKING: Final = frozenset({"fanout", "plan_fanout", "start_fanout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads sentences with the examples of a catalogue."""

    tools: Mapping[str, Tool]
    matcher: Matcher

    def read(self, text: str, situation: Situation) -> Plan:
        """Return what the sentence asks for."""
        bare = " ".join(text.split())
        bare = bare[polite.end() :] if (polite := _PLEASE.match(bare)) else bare
        if re.fullmatch(r"(?:help|what can (?:you|i) do|commands)\W*", bare, re.IGNORECASE):
            return Say(text=help_text(self.tools))
        if (asked := asking.explicit(bare, situation)) is not None:
            return asked
        ranked = [one for one in self.matcher.rank(bare) if one.tool.name not in _ASKING]
        changing = self._changing(bare, ranked, situation)
        if changing is not None:
            return changing
        if _speaks_of_limits(bare, situation):
            cap = Likeness(tool=self.tools["put_cap"], score=1.0)
            return _ask_back([cap], bare, situation, or_ask=True)
        return self._reading(bare, ranked, situation) or asking.plain(text, situation)

    def _changing(self, bare: str, ranked: Sequence[Likeness], situation: Situation) -> Plan | None:
        """Return the change that the sentence orders, if its words do."""
        verb = bare.split(" ", maxsplit=1)[0].lower().strip(",.!")
        able = [
            one
            for one in ranked
            if one.tool.effect == "changes" and verb in _verbs(one.tool) and _has_noun(one.tool, bare[len(verb) :])
        ]
        if not able:
            vague = [one for one in ranked if one.tool.effect == "changes" and verb in _verbs(one.tool)]
            return _ask_back(vague[:2], bare, situation) if vague and len(bare.split()) <= 3 else None
        if able[0].score < CHANGE:
            return None
        if len(able) > 1 and able[0].score - able[1].score < MARGIN:
            return _ask_back(able[:2], bare, situation)
        return _call(able[0].tool, bare, situation)

    def _reading(self, bare: str, ranked: Sequence[Likeness], situation: Situation) -> Plan | None:
        """Return what the sentence wants to see, or None when it is a question for models."""
        named = RUN_ID.search(bare) is not None
        reading = [one for one in ranked if one.tool.effect == "reads" and (not named or _takes_run(one.tool))]
        best, second = reading[:2]
        ours = _WE_DID.search(bare) is not None
        if _GENERAL.match(bare) and not (named or ours):
            return None
        if not (named or ours or _shares_a_word(bare, best.tool)):
            return None
        if best.score >= CLEAR and best.score - second.score >= MARGIN:
            return _call(_fitting(reading, bare, situation), bare, situation)
        floor = DOUBTFUL_OF_OURS if ours or named else DOUBTFUL
        if best.score < floor:
            return None
        return _ask_back([one for one in (best, second) if one.score >= floor], bare, situation, or_ask=True)


def _speaks_of_limits(bare: str, situation: Situation) -> bool:
    """Whether the sentence names an amount for a day or a month, or for spending, and is no question: it must not
    become something that is paid for.
    """
    if money(bare, situation) is None or not _LIMITING.search(bare) or len(bare.split()) > _LIMIT_WORDS:
        return False
    if bare.endswith("?") or _GENERAL.match(bare):
        return False
    return period(bare, situation) is not None or _SPENDING.search(bare) is not None


def _verbs(tool: Tool) -> set[str]:
    """Return the verbs that order a change; a tool without words of its own here has those of its examples."""
    own = _VERBS.get(tool.name, "").split()
    return set(own) | {example.split()[0].lower() for example in tool.examples}


def _has_noun(tool: Tool, rest: str) -> bool:
    if _takes_run(tool) and RUN_ID.search(rest):
        return True
    nouns = _NOUNS.get(tool.name) or "|".join(re.escape(word) for word in tool.name.split("_")[1:])
    return re.search(rf"\b(?:{nouns})\b", rest, re.IGNORECASE) is not None


def _takes_run(tool: Tool) -> bool:
    return "run_id" in tool.schema["properties"]


def _shares_a_word(bare: str, tool: Tool) -> bool:
    """Whether a telling word of the sentence is one of the tool's: embeddings alone find likeness in the shape of a
    sentence.
    """
    theirs = {
        _stem(word) for example in (*tool.examples, tool.summary) for word in re.findall(r"[a-z]+", example.lower())
    }
    ours = {_stem(word) for word in re.findall(r"[a-z]+", bare.lower()) if word not in _COMMON.split()}
    return bool(ours & theirs)


def _stem(word: str) -> str:
    return word.removesuffix("ing").removesuffix("ed").removesuffix("s") if len(word) > 4 else word.removesuffix("s")


def _call(tool: Tool, bare: str, situation: Situation) -> Plan:
    found = arguments(tool, bare, situation)
    lacking = missing(tool, found)
    if not lacking:
        return Call(tool=tool.name, arguments=found)
    what = ", ".join(name.replace("_", " ") for name in lacking)
    return Say(
        text=f"I understand `{tool.name}`, but not which {what}. Say it in the same sentence, or type {usage_of(tool)}"
    )


def _fitting(ranked: Sequence[Likeness], bare: str, situation: Situation) -> Tool:
    """Return the likest tool that the sentence gives all arguments for, if one is near: a list, not one of it."""
    near = [one.tool for one in ranked if ranked[0].score - one.score < NEAR]
    whole = [tool for tool in near if not missing(tool, arguments(tool, bare, situation))]
    return whole[0] if whole else ranked[0].tool


def _ask_back(candidates: Sequence[Likeness], bare: str, situation: Situation, *, or_ask: bool = False) -> Say:
    """Name the candidates, numbered with their commands, so that the answer can be a number."""
    lines = []
    for number, tool in enumerate((one.tool for one in candidates), start=1):
        found = arguments(tool, bare, situation)
        given = [f"{name}={found[name]}" for name in tool.schema.get("required", ()) if name in found]
        lines.append(f"{number}. `{' '.join([f'/{tool.name}', *given])}` – {tool.summary}")
    if or_ask:
        lines.append(f"{len(lines) + 1}. `/fanout {bare.replace('`', '')}` – ask the panel this question")
    return Say(text="\n".join(["I am not sure what you mean. One of these? Answer with its number.", "", *lines]))
