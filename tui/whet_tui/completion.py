"""What can be meant by the word that is being typed: commands and their arguments, files, runs.

The commands are the screen's own and the agent's; the agent's arguments are read from the same schemas as its tools and
the command line's verbs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from whet_tui.commands import OWN
from whet_tui.files import fuzzy
from whet_tui.mentions import mention
from whet_tui.safe import safe_line
from whet_tui.surroundings import Named

_MOST: Final = 100
"""Offers that can be gone through: every command, but not every file."""
_FILES: Final = 20
_RUNS: Final = 2
"""Of these, runs that are offered beside files before a letter says which is meant."""
_DETAIL: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Something that may be meant. `text` takes the place of the word."""

    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What may be meant by the word that begins at `start` of the cursor's line."""

    start: int = 0
    found: Sequence[Offer] = ()
    firm: bool = False
    """Enter takes the chosen one even if nobody chose: the word alone would mean nothing."""


NONE: Final = Offers()

Values = Callable[[str], Sequence[Offer]]
"""What a value may be, by the beginning of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """How a command goes on: options by name, and loose values."""

    summary: str
    options: Mapping[str, Values] = field(default_factory=dict)
    loose: Values | None = None


@dataclass(slots=True, kw_only=True)
class Known:
    """Everything that can be completed."""

    commands: Mapping[str, Takes]
    files: Sequence[str] = ()
    named: Named = field(default_factory=Named)


def own_commands() -> Mapping[str, Takes]:
    """The screen's own commands."""
    return {
        name: Takes(summary=own.summary, loose=_among(own.choices) if own.choices else None)
        for name, own in OWN.items()
    }


def all_commands(named: Callable[[], Named]) -> Mapping[str, Takes]:
    """Every command, the agent's short names included. Loads the contract: call it when the agent is loaded anyway."""
    from whet_agent.catalogue import tools  # after the first frame
    from whet_agent.planner.commands import PROPOSE, SHORT, loose_of, options_of  # the same

    def taking(name: str) -> Takes:
        tool = tools()[name]
        loose = [_values(each, schema, named) for each, schema in loose_of(tool)]
        return Takes(
            summary=tool.summary,
            options={each: _values(each, schema, named) for each, schema in options_of(tool).items()},
            loose=(lambda begun: [offer for values in loose for offer in values(begun)]) if loose else None,
        )

    agents = {name: taking(name) for name in tools()} | {short: taking(name) for short, name in SHORT.items()}
    agents[PROPOSE] = Takes(summary="Propose a sweep: a better prompt, a cheaper model, for a data set")
    return {**agents, **own_commands()}


def _values(name: str, schema: Mapping[str, object], named: Callable[[], Named]) -> Values:
    """What a field may hold, as far as anybody knows."""
    last = name.rpartition("-")[2].rpartition("_")[2]
    items = schema.get("items")
    inner = items if isinstance(items, Mapping) else schema
    if isinstance(choices := inner.get("enum"), Sequence):
        return _among([str(choice) for choice in choices])
    if schema.get("type") == "boolean":
        return _among(["true", "false"])
    if last in {"model", "models"}:
        return lambda begun: _after_comma(begun, named().models)
    if name.replace("-", "_") == "run_id":
        return lambda begun: [
            Offer(text=run, detail=title)
            for run, title in {"last": "the last run of this conversation", **named().runs}.items()
            if run.startswith(begun)
        ]
    return _among(())


def _among(choices: Iterable[str]) -> Values:
    return lambda begun: [Offer(text=choice) for choice in choices if choice.startswith(begun.lower())]


def _after_comma(begun: str, names: Sequence[str]) -> Sequence[Offer]:
    """Several names are separated by commas; the last one is being typed."""
    before, comma, last = begun.rpartition(",")
    return [Offer(text=before + comma + name) for name in fuzzy(last, names, _MOST)]


def offered(text: str, before: str, known: Known) -> Offers:
    """What may be meant. `text` is the whole message, `before` what stands before the cursor in its line."""
    word = before[_word_start(before) :]
    if word.startswith("@"):
        return _mentions(word, len(before) - len(word), known)
    if not text.startswith("/") or "\n" in text:
        return NONE
    if word == before:
        return _names(before, known)
    return _arguments(before, word, known)


def _word_start(before: str) -> int:
    """Where the word at the cursor begins. A mention in quotes may hold blanks."""
    quoted = before.rfind('@"')
    if quoted >= 0 and before.count('"', quoted) == 1:
        return quoted
    return max(before.rfind(" "), before.rfind("\t")) + 1


def _names(before: str, known: Known) -> Offers:
    begun = before[1:].lower()
    names = [name for name in known.commands if name.startswith(begun)]
    found = [Offer(text=f"/{name}", detail=known.commands[name].summary) for name in sorted(names, key=_own_first)]
    return Offers(found=_shortened(found), firm=begun not in known.commands)


def _own_first(name: str) -> tuple[bool, str]:
    return name not in OWN, name


def _arguments(before: str, word: str, known: Known) -> Offers:
    takes = known.commands.get(before[1:].partition(" ")[0].lower())
    if takes is None:
        return NONE
    start = len(before) - len(word)
    option, equals, begun = word.partition("=")
    values = takes.options.get(option.lstrip("-").replace("_", "-")) if equals else None
    if values is not None:
        found = [Offer(text=f"{option}={offer.text}", detail=offer.detail) for offer in values(begun)]
        return Offers(start=start, found=_shortened(found))
    previous = before[:start].rsplit(maxsplit=1)[-1]
    if previous.startswith("--") and (values := takes.options.get(previous[2:].replace("_", "-"))) is not None:
        return Offers(start=start, found=_shortened(values(word)))
    if word.startswith("-"):
        names = [f"--{name}" for name in takes.options if f"--{name}".startswith(word)]
        return Offers(start=start, found=_shortened([Offer(text=name) for name in names]))
    if takes.loose is not None:
        return Offers(start=start, found=_shortened(takes.loose(word)))
    return NONE


def _mentions(word: str, start: int, known: Known) -> Offers:
    query = word[1:].removeprefix('"')
    runs = [run for run in known.named.runs if run.startswith(query)][: _RUNS if not query else _MOST]
    files = fuzzy(query, known.files, _FILES)
    found = [Offer(text=mention(run), detail=known.named.runs[run]) for run in runs]
    found += [Offer(text=mention(name)) for name in files]
    whole = query in known.named.runs or query in files
    return Offers(start=start, found=_shortened(found), firm=not whole)


def _shortened(found: Sequence[Offer]) -> Sequence[Offer]:
    return [Offer(text=offer.text, detail=safe_line(offer.detail, _DETAIL)) for offer in found[:_MOST]]
