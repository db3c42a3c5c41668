"""Decide what a plain sentence asks for: a tool, several in order, a question for the panel, or not clear enough.

A wrong guess must not spend or change anything. A sentence is a command when every word of it is one that commands
are made of, misspelt or not, and its concepts are exactly those of one tool. What speaks of Whet's own things and is
not that clear is asked about, with the commands that it may mean, numbered. Everything else is a question for the
panel, as it was typed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.planner import asking, forms, judging, sweeping
from whet_agent.planner.commands import help_text, usage_of
from whet_agent.planner.extract import RUN_ID, arguments, missing, money, period
from whet_agent.planner.match import Matcher
from whet_agent.planner.plan import Call, Calls, Plan, Say, Situation
from whet_agent.planner.steps import after_one_another, side_by_side
from whet_agent.planner.words import Sentence, look_up
from whet_agent.runs import STARTING_TOOLS

CLEAR: Final = 0.62
"""Above this likeness a reading tool is meant, if no other comes near. Set on the table of utterances in the tests,
as are the next three.
"""
MARGIN: Final = 0.05
DOUBTFUL: Final = 0.48
"""Between this and CLEAR it may be meant: ask back."""
DOUBTFUL_OF_OURS: Final = 0.33
"""The same for what I or we did, or a run, of which no model could know."""

OPTIONS: Final = 3
"""More than this is a list that nobody reads: /help has them all."""

_PLEASE: Final = re.compile(
    r"(?:(?:please|pls|can you|could you|would you|i want to|i'd like to|now|ok|just)[, ]+)+", re.IGNORECASE
)
_GENERAL: Final = re.compile(
    r"(?:how (?:do|does|can|could|would|should|to|many|far|long|old)|why|explain|define|describe|write|compose"
    r"|translate|summari[sz]e|tell me|give me an?|who|what does an?"
    r"|what (?:is|are|was|were|does|do|would|should) "
    r"(?:an? |\w+ mean|the (?:meaning|difference|point|best|capital)))\b",
    re.IGNORECASE,
)
_OF_THE_WORLD: Final = re.compile(
    r"(?:how (?:do|does|can|could|would|should|to)|why|explain|define|describe|what (?:is|are|does|do) an?)\b",
    re.IGNORECASE,
)
"""Questions of which every word may be one of ours and which are not about us: how does a cache work."""
_QUESTION: Final = re.compile(r"(?:what|how|who|when|where|why|which)\b", re.IGNORECASE)
_SMALL_TALK: Final = re.compile(
    r"(?:ok(?:ay)?|yes|yep|no|nope|thanks?(?: you)?|h+m+|sorry|great|cool|fine|good|do it|go ahead|sure|well|\W)+",
    re.IGNORECASE,
)
_LIMITING: Final = re.compile(
    r"\b(?:(?:no|not|never) more|at most|up to|max(?:imum)?|less|under|below|within|over|limit|cap|budget|enough"
    r"|spend(?:ing)?)\b",
    re.IGNORECASE,
)
_LIMIT_WORDS: Final = 14
"""A longer sentence with an amount in it is about something else."""
_OWN_WORDS: Final = 9
"""A longer sentence in which one of our words stands is about something else."""
_OWN: Final = frozenset({"APPROVALS", "CACHE", "CAP", "ENDPOINT", "ENTRIES", "FANOUT", "MODEL", "SPENT", "TRACE"})
_ANYTHING: Final = re.compile(r"(?:is there )?anything (?:new |else |left |here )?for me\b", re.IGNORECASE)
_SPENDING: Final = re.compile(r"\b(?:limit|cap|budget|spend(?:ing)?)\b", re.IGNORECASE)
_WE_DID: Final = re.compile(
    r"\b(?:did|have|had) (?:i|we)\b|\b(?:i|we) (?:have|had|did|paid|spent|asked|ran)\b", re.IGNORECASE
)
_COMMON: Final = (
    "a an the my our your is are was were do does did have has what which who how much many of to for in on at and "
    "or with show list give me i we you it this that there any all last latest be can could please from by into"
)
_ASKING: Final = frozenset({"fanout", "plan_fanout", "start_fanout"})
_PRONOUNS: Final = re.compile(r"\b(?P<its>its|their)\b|\b(?P<it>it|them|one)\b(?! is)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads sentences with the words, the forms and the examples of a catalogue."""

    tools: Mapping[str, Tool]
    matcher: Matcher

    def read(self, text: str, situation: Situation) -> Plan:
        """Return what the message asks for."""
        bare = " ".join(text.split())
        bare = bare[polite.end() :] if (polite := _PLEASE.match(bare)) else bare
        if re.fullmatch(r"(?:help|what can (?:you|i) do|commands)\W*", bare, re.IGNORECASE):
            return Say(text=help_text(self.tools))
        swept = sweeping.read(bare, situation, self.tools)
        if swept is not None and not isinstance(swept, Say):
            return swept
        calls = self._steps(after_one_another(bare), situation)
        whole = isinstance(judging.read(bare, situation, self.tools), Call)
        if not (calls or whole) and asking.explicit(bare, situation) is None:
            calls = self._steps(side_by_side(bare), situation)
        if calls:
            return calls[0] if len(calls) == 1 else Calls(calls=tuple(calls))
        return self._one(bare, situation) or asking.plain(text, situation)

    @property
    def _others(self) -> Mapping[str, Tool]:
        """The tools that sentences about judging and about sweeps are not for."""
        return {name: tool for name, tool in self.tools.items() if name not in judging.TOOLS | sweeping.TOOLS}

    def _steps(self, parts: Sequence[str], situation: Situation) -> list[Call]:
        """Return the calls of several parts, or none when one of them is no call: it was one sentence then."""
        if len(parts) < 2:
            return []
        calls: list[Call] = []
        for part in parts:
            found = self._step(part, calls, situation)
            if not found:
                return []
            calls += [call for call in found if call not in calls]
            situation = _after(calls[-1], situation)
        return calls

    def _step(self, part: str, calls: Sequence[Call], situation: Situation) -> list[Call]:
        """Return the calls of one part. It may point back (`it`, `the monthly one`), or leave out the verb."""
        smaller = self._steps(side_by_side(part), situation) if asking.explicit(part, situation) is None else []
        if smaller:
            return smaller
        tries = [part]
        if calls:
            tool = self.tools[calls[-1].tool]
            it, its = forms.pronouns(tool, calls[-1].arguments)
            tries = [
                _PRONOUNS.sub(lambda found: its if found["its"] else it, part) if it else part,
                *(f"{lead} {part}" for lead in forms.leads(tool, part)),
            ][forms.lacks_its_thing(part) :]
        for text in dict.fromkeys(tries):
            plan = self._one(text, situation)
            if isinstance(plan, Call):
                return [plan]
        return []

    def _one(self, bare: str, situation: Situation) -> Plan | None:
        """Return what one sentence asks for; None for a question that only models can answer."""
        for read in (sweeping.read, judging.read):
            if (found := read(bare, situation, self.tools)) is not None:
                return found
        sentence = look_up(bare, names=[model.partition("/")[0] for model in situation.panel])
        if (asked := _asked(bare, sentence, situation)) is not None:
            return asked
        concepts = forms.concepts_of(sentence, bare, situation)
        if not sentence.foreign and not (_OF_THE_WORLD.match(bare) and not forms.orders(concepts)):
            return self._command(bare, sentence, concepts, situation)
        if (shown := self._reading(bare, sentence, situation)) is not None:
            return shown
        if _speaks_of_limits(bare, situation) or _about_us(bare, sentence, concepts):
            return self._ask_back(forms.near(concepts, self._others), bare, sentence, situation, or_ask=True)
        return None

    def _command(self, bare: str, sentence: Sentence, concepts: frozenset[str], situation: Situation) -> Plan | None:
        """Return the call of a sentence in which no word is foreign, or ask which is meant."""
        found = forms.candidates(concepts, self._others)
        if len(found) == 1:
            change = found[0].effect != "reads"
            if not (change and (forms.denied(sentence) or forms.unclear(found[0], bare, sentence.meant))):
                return self._call(found[0], bare, sentence, situation)
        near = found or forms.near(concepts, self._others)
        asks = bool(situation.answer) or (not near and _QUESTION.match(bare) is not None)
        if asks and not forms.telling(concepts) and not _SMALL_TALK.fullmatch(bare):
            return None  # it follows up what was said, or asks about the world in numbers
        return self._ask_back(near, bare, sentence, situation, or_ask=not forms.orders(concepts))

    def _reading(self, bare: str, sentence: Sentence, situation: Situation) -> Plan | None:
        """Return what a sentence with words of its own wants to see, by its likeness to the examples."""
        named = RUN_ID.search(bare) is not None
        ranked = [one for one in self.matcher.rank(sentence.meant) if one.tool.name in self._others.keys() - _ASKING]
        reading = [one for one in ranked if one.tool.effect == "reads" and (not named or _takes_run(one.tool))]
        best, second = reading[:2]
        ours = _WE_DID.search(bare) is not None
        if _GENERAL.match(bare) and not (named or ours):
            return None
        if not (named or ours or _shares_a_word(bare, best.tool)) or forms.orders(sentence.concepts):
            return None
        if best.score >= CLEAR and best.score - second.score >= MARGIN:
            return self._call(best.tool, bare, sentence, situation)
        floor = DOUBTFUL_OF_OURS if ours or named else DOUBTFUL
        if best.score < floor:
            return None
        near = [one.tool for one in (best, second) if one.score >= floor]
        return self._ask_back(near, bare, sentence, situation, or_ask=True)

    def _call(self, tool: Tool, bare: str, sentence: Sentence, situation: Situation) -> Plan:
        found = _arguments(tool, bare, sentence, situation)
        lacking = missing(tool, found)
        if not lacking:
            return Call(tool=_for_its_run(tool.name, str(found.get("run_id", ""))), arguments=found)
        what = ", ".join(name.replace("_", " ") for name in lacking)
        return Say(
            text=f"I understand `{tool.name}`, but not which {what}? "
            f"Say it in the same sentence, or type {usage_of(tool)}"
        )

    def _ask_back(
        self, candidates: Sequence[Tool], bare: str, sentence: Sentence, situation: Situation, *, or_ask: bool
    ) -> Say:
        """Name the candidates, numbered with their commands, so that the answer can be a number."""
        lines = []
        for number, tool in enumerate(candidates[:OPTIONS], start=1):
            found = _arguments(tool, bare, sentence, situation)
            if "run_id" in tool.schema["properties"] and situation.last_run:
                found.setdefault("run_id", situation.last_run)
            given = [f"{name}={found[name]}" for name in tool.schema.get("required", ()) if name in found]
            lines.append(f"{number}. `{' '.join([f'/{tool.name}', *given])}` – {tool.summary}")
        if or_ask:
            lines.append(f"{len(lines) + 1}. `/fanout {bare.replace('`', '')}` – ask the panel this question")
        if not lines:
            return Say(text="What should I do? Say it in one sentence, or type `/help` for what there is.")
        which = "One of these? Answer with its number." if len(lines) > 1 else "This? Answer yes, or say it otherwise."
        return Say(text="\n".join([f"What do you mean? {which}", "", *lines]))


def _for_its_run(tool: str, run_id: str) -> str:
    """Return the tool for the kind of run that is meant: `stop it` may mean a judgement."""
    kind = {"jud_": "judgement", "aud_": "audit"}.get(run_id[:4])
    if kind is None or tool not in {"cancel_fanout", "get_fanout", "watch_fanout"}:
        return tool
    return "get_audit" if (tool, kind) == ("get_fanout", "audit") else tool.replace("fanout", "judgement")


def _asked(bare: str, sentence: Sentence, situation: Situation) -> Plan | None:
    """Return the call of a sentence that says that models are to be asked, misspelt or not."""
    asked = asking.explicit(bare, situation)
    if asked is not None or not sentence.slips:
        return asked
    asked = asking.explicit(sentence.meant, situation)
    if not isinstance(asked, Call):
        return asked
    # What was meant for models goes to them as it was typed.
    spec = dict(asked.arguments["spec"])
    prompt = str(spec.get("prompt", ""))
    if prompt and sentence.meant.endswith(prompt):
        begin = sentence.words[len(sentence.words) - len(prompt.split())].begin
        spec["prompt"] = bare[begin:]
    return replace(asked, arguments={"spec": spec})


def _after(call: Call, situation: Situation) -> Situation:
    """Return what the next step may point back to."""
    run_id = str(call.arguments.get("run_id", "")) or situation.last_run
    question = str(call.arguments.get("spec", {}).get("prompt", "")) or situation.question
    runs = (*situation.runs, run_id) if run_id else situation.runs
    if call.tool in STARTING_TOOLS:
        runs = ()  # its run has no name yet, and no earlier one is meant
    return replace(situation, last_run=run_id, runs=runs, question=question)


def _arguments(tool: Tool, bare: str, sentence: Sentence, situation: Situation) -> dict[str, object]:
    """Return the call's arguments: names, links and amounts as typed, everything else as meant."""
    text = sentence.meant if sentence.slips else bare
    return dict(arguments(tool, text, situation, name=sentence.name))


def _speaks_of_limits(bare: str, situation: Situation) -> bool:
    """Whether the sentence names an amount for a day or a month, or for spending, and is no question: it must not
    become something that is paid for.
    """
    if money(bare, situation) is None or not _LIMITING.search(bare) or len(bare.split()) > _LIMIT_WORDS:
        return False
    if bare.endswith("?") or _GENERAL.match(bare):
        return False
    return period(bare, situation) is not None or _SPENDING.search(bare) is not None


def _about_us(bare: str, sentence: Sentence, concepts: frozenset[str]) -> bool:
    """Whether a sentence with foreign words may still be about our own things rather than the world's."""
    if concepts & {"RUN_ID", "APPROVAL_ID"} or {"URL", "ADD"} <= concepts or {"URL", "ENDPOINT"} <= concepts:
        return True
    if _GENERAL.match(bare) or len(bare.split()) > _OWN_WORDS:
        return False
    if ({"MONEY", "PERIOD"} <= concepts and forms.orders(concepts)) or _ANYTHING.match(bare):
        return True
    own = concepts & _OWN
    return {"CAP", "PERIOD"} <= concepts or (bool(own) and len(sentence.foreign) <= len(own))


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
