"""What the planner knows of a conversation, and what it can come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from whet_agent.conversation import Entry, arguments_of, calls_of
from whet_agent.json_object import JsonView
from whet_agent.proposing import Wish

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Propose a sweep, show its plan, and start it: `behind` leaves it to itself then, else it is followed."""

    wish: Wish
    only_plan: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Start a sweep that follows another one, as that one has proposed it."""

    run_id: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveMore:
    """Let a sweep spend more than it may now: by so much, in dollars."""

    run_id: str
    money: str


Plan: TypeAlias = Call | Calls | Say | Propose | Follow | GiveMore


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

    def last(self, *prefixes: str) -> str:
        """Return the last run whose id begins so; empty when there is none."""
        return next((run for run in reversed(self.runs) if run.startswith(prefixes)), "")


def situation_of(entries: Sequence[Entry], *, panel: tuple[str, ...]) -> Situation:
    """Read the situation before the last message off the conversation."""
    question = answer = last_said = said = ""
    runs: list[str] = []
    calls: list[JsonView] = []
    for entry in entries[:-1]:
        role, content = entry["m"]["role"], entry["m"]["content"]
        runs += [entry["run"]] if entry.get("run") else []
        calls += [_arguments(call.arguments) for call in calls_of(entry)] if role == "assistant" else []
        if role == "user":
            said = content
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
    )


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
