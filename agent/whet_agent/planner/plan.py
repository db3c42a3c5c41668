"""What the planner knows of a conversation, and what it can come to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from whet_agent.conversation import Entry, arguments_of, calls_of
from whet_agent.json_object import JsonView
from whet_agent.proposing import Wish

START: Final = "Start it? Say yes, or what to change."
"""What ends every proposed sweep: nothing is started before the person has seen its plan and said so."""
WHICH: Final = "Over which data set?"

_OPTION: Final = re.compile(r"^(\d)\. `(/[^`]+)`", re.MULTILINE)
_ORDINALS: Final = {"first": "1", "second": "2", "third": "3", "the first": "1", "the second": "2", "the third": "3"}

RUNS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "calibrate": ("jud_",),
    "cancel_judgement": ("jud_", "aud_"),
    "control_sweep": ("swp_",),
    "export_sweep": ("swp_",),
    "gate_judgement": ("jud_",),
    "get_audit": ("aud_",),
    "get_judgement": ("jud_",),
    "get_sweep": ("swp_",),
    "list_cases": ("swp_",),
    "list_trials": ("swp_",),
    "report_sweep": ("swp_",),
    "watch_judgement": ("jud_", "aud_"),
    "watch_sweep": ("swp_",),
}
"""How the ids of the runs begin that these tools are for; all others take any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call a tool."""

    tool: str
    arguments: JsonView


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Answer, or ask back."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Call several tools, one after the other: each with its own approval, and none after one that failed."""

    calls: tuple[Call, ...]
    before: str = ""
    """What is said with the first of them."""
    after: str = ""
    """What is said when all of them have worked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Propose a sweep, show its plan, and ask whether to start it. A wish without a data set has its name in `said`, if
    anywhere.
    """

    wish: Wish
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Propose a sweep that follows another one, as that one proposes it, with a budget of its own if one is given."""

    run_id: str
    step: str
    budget: JsonView = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start the sweep that was shown. `behind` leaves it to itself then, else it is followed."""

    spec: JsonView
    behind: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveMore:
    """Let a sweep spend more than it may now: by so much, in dollars."""

    run_id: str
    money: str


Plan: TypeAlias = Call | Calls | Say | Propose | Follow | Start | GiveMore


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a sentence may refer to: the last run, the last question with its answer, what the planner said last, and
    the panel.
    """

    last_run: str = ""
    runs: tuple[str, ...] = ()
    """Every run of the conversation, the last one last."""
    names: frozenset[str] = frozenset()
    """Data sets that calls of the conversation have named."""
    question: str = ""
    answer: str = ""
    last_said: str = ""
    panel: tuple[str, ...] = ()
    talk: tuple[tuple[str, str], ...] = ()
    """What the person has said of a sweep that is asked about, each with what was said before it, the wish first; empty
    when no such question is open.
    """
    proposed: JsonView = field(default_factory=dict)
    """The spec of the last sweep that was planned."""

    def last(self, *prefixes: str) -> str:
        """Return the last run whose id begins so; empty when there is none."""
        return next((run for run in reversed(self.runs) if run.startswith(prefixes)), "")


def situation_of(entries: Sequence[Entry], *, panel: tuple[str, ...]) -> Situation:
    """Read the situation before the last message off the conversation."""
    question = answer = last_said = said = ""
    runs: list[str] = []
    calls: list[JsonView] = []
    talk: list[tuple[str, str]] = []
    proposed: JsonView = {}
    for entry in entries[:-1]:
        role, content = entry["m"]["role"], entry["m"]["content"]
        runs += [entry["run"]] if entry.get("run") else []
        for call in calls_of(entry) if role == "assistant" else ():
            calls.append(_arguments(call.arguments))
            proposed = calls[-1].get("spec", {}) if call.name == "plan_sweep" else proposed
            last_said = ""  # whatever was asked has been answered
        if role == "user":
            said = content
            talk = [*(talk if question_of(last_said) else ()), (last_said, said)]
        elif role == "assistant" and content:
            last_said = content
            if entry.get("quoted"):
                question, answer = said, content
    return Situation(
        last_run=runs[-1] if runs else "",
        runs=tuple(runs),
        names=frozenset(_known_names(calls)),
        question=question,
        answer=answer,
        last_said=last_said,
        panel=panel,
        talk=tuple(talk) if question_of(last_said) else (),
        proposed=proposed,
    )


def question_of(said: str) -> str:
    """Return the question about a sweep that ends what was said: `START`, `WHICH` or none."""
    return next((question for question in (START, WHICH) if said.endswith(question)), "")


def chosen(text: str, said: str) -> str:
    """Return the command behind a number, when the planner has just asked back; else the text as it is."""
    options: dict[str, str] = dict(_OPTION.findall(said))
    word = text.strip().lower().rstrip(".!)")
    if len(options) == 1 and word in {"yes", "y", "yes please"}:
        word = next(iter(options))
    return options.get(_ORDINALS.get(word, word), text)


def _arguments(text: str) -> JsonView:
    try:
        return arguments_of(text)
    except ValueError:
        return {}


def _known_names(calls: Sequence[JsonView]) -> set[str]:
    """Return the data sets that earlier calls of a conversation have named, by their arguments."""
    found = set()
    for arguments in calls:
        for holder in (arguments, arguments.get("spec", {})):
            dataset = holder.get("dataset") if isinstance(holder, Mapping) else None
            name = dataset.get("name") if isinstance(dataset, Mapping) else None
            found |= {name} if isinstance(name, str) and name else set()
    return found
