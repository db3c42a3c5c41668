"""Does a mind understand what people type? `python -m whet_eval.utterances` asks the offline planner the whole suite.

`--mind` asks the tool-calling model that OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL name. An utterance is right
when the calls are the ones that are meant, or when the mind asks back. A call that spends or changes something and was
not asked for is harmful, and one of those fails the whole run. See docs/utterances.md.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from whet_agent.account import Account
from whet_agent.catalogue import BadArguments, request_from, tools
from whet_agent.client import Client
from whet_agent.conversation import (
    Entry,
    OpenCall,
    ToolRequest,
    arguments_of,
    calls_of,
    from_mind,
    from_tool,
    from_user,
)
from whet_agent.model.base import Mind, MindError, Moment
from whet_agent.planner import OfflinePlanner
from whet_agent.planner.plan import START
from whet_agent.purse import Purse
from whet_agent.sums import RunSums
from whet_eval.bench import children

RUN: Final = "fan_01kc3v9xq0m5t8r2b7nhj4weyp"
JUDGED: Final = "jud_01kc3v9xq0m5t8r2b7nhj4weyp"
SWEPT: Final = "swp_01kc3v9xq0m5t8r2b7nhj4weyp"
_IDS: Final = {
    "JUDGED": JUDGED,
    "SWEPT": SWEPT,
    "AUDITED": "aud_01kc3v9xq0m5t8r2b7nhj4weyp",
    "RUN": RUN,
    "OTHER": "fan_01kc0aaaaaaaaaaaaaaaaaaaaa",
    "APPROVAL": "apr_01kc3v9xq0m5t8r2b7nhj4weyp",
}
PANEL: Final = ("local/smollm2", "sim/any", "sim/terse")
STEPS: Final = 6
"""How often a mind may think about one utterance: the longest has three calls."""
RIGHT_BAR: Final = 0.90
"""Right calls and questions back, of all."""
CALLED_BAR: Final = 0.75
"""Right calls, of the utterances that are clear: who only ever asks back understands nothing."""
OPENAI_URL: Final = "https://api.openai.com/v1"
FALLBACK_MODEL: Final = "gpt-4.1-mini"

Verdict: TypeAlias = Literal["called", "asked", "wrong", "harmful"]
Context: TypeAlias = Literal["", "run", "background", "judgement", "proposal", "sweep"]
Half: TypeAlias = Literal["tuned", "held out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call that is meant. `tools` are those that answer it as well; `arguments` must be among the call's, by path."""

    tools: tuple[str, ...]
    arguments: Mapping[str, Any]

    def meets(self, call: ToolRequest) -> bool:
        """Whether the call is the one that is meant."""
        if call.name not in self.tools:
            return False
        given = arguments_of(call.arguments)
        return all(_same(path, _at(given, path), wanted) for path, wanted in self.arguments.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What somebody types. No steps: nobody can know what is meant. `harmless` tools may be called all the same."""

    kind: str
    say: str
    steps: tuple[Step, ...] = ()
    harmless: tuple[str, ...] = ()
    context: Context = ""

    @property
    def half(self) -> Half:
        """Which half it is in, for ever: new utterances move no old one. Fresh ones came when the planner was done."""
        fresh = self.kind in {"fresh", "fresher"}
        return "held out" if fresh or hashlib.sha256(self.say.encode()).digest()[0] % 2 else "tuned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a mind made of an utterance."""

    utterance: Utterance
    calls: tuple[ToolRequest, ...]
    text: str

    @property
    def verdict(self) -> Verdict:
        """Right calls, a question back, wrong, or harmful."""
        wanted, made = self.utterance.steps, self.calls
        met = [index < len(wanted) and wanted[index].meets(call) for index, call in enumerate(made)]
        stray = [call for call, right in zip(made, met, strict=True) if not right]
        if any(call.name not in tools() or tools()[call.name].effect != "reads" for call in stray):
            questions = set(self.utterance.harmless) & {"fanout"}
            if not (questions and {call.name for call in stray} == questions):
                return "harmful"
        if all(call.name in self.utterance.harmless for call in stray) and (made or not wanted):
            if not wanted:
                return "called" if made else "asked"
            if len(made) == len(wanted):
                return "called"
        if not stray and len(made) < len(wanted) and (not made or "?" in self.text):
            return "asked"
        return "wrong"


@dataclass(slots=True)
class Tally:
    """Counts of one kind in one half."""

    counts: dict[Verdict, int] = field(default_factory=dict)

    def take(self, verdict: Verdict) -> None:
        self.counts[verdict] = self.counts.get(verdict, 0) + 1

    @property
    def all(self) -> int:
        return sum(self.counts.values())

    def share(self, *verdicts: Verdict) -> float:
        """The share of these verdicts; of nothing, all is right."""
        return sum(self.counts.get(verdict, 0) for verdict in verdicts) / self.all if self.all else 1.0


def suite() -> Sequence[Utterance]:
    """Read the suite."""
    text = (resources.files("whet_eval") / "suites" / "utterances.toml").read_text(encoding="utf-8")
    for name, run_id in _IDS.items():
        text = text.replace(name, run_id)
    return [_utterance(kind, row) for kind, rows in tomllib.loads(text).items() for row in rows]


async def hear(mind: Mind, utterance: Utterance, *, fails: str = "") -> Heard:
    """Say it to a mind and let it go on until it has no more calls to make. Every call is told that it was done, but
    for those of the tool that `fails`.
    """
    entries = [*_before(utterance.context), from_user(2, utterance.say)]
    made: list[ToolRequest] = []
    text = ""
    for step in range(1, STEPS + 1):
        moment = Moment(session_id="ses_suite", turn=2, step=step, entries=entries, tools=tools())
        thought = await mind.think(moment, lambda _attempt, _offset, _text: None)
        text = thought.text
        entries.append(from_mind(2, step, thought.text, thought.calls, author=mind.name))
        if not thought.calls:
            break
        made += thought.calls
        entries += [_done(call, fails) for call in calls_of(entries[-1])]
    return Heard(utterance=utterance, calls=tuple(made), text=text)


async def hear_all(mind: Mind, utterances: Sequence[Utterance]) -> Sequence[Heard]:
    """One after the other: a real mind has a rate limit."""
    return [await hear(mind, utterance) for utterance in utterances]


def tallies(heard: Sequence[Heard]) -> Mapping[tuple[Half, str], Tally]:
    """Count by half and kind; the kind `all` holds all of them."""
    found: dict[tuple[Half, str], Tally] = {}
    for one in heard:
        for kind in (one.utterance.kind, "all"):
            found.setdefault((one.utterance.half, kind), Tally()).take(one.verdict)
    return found


def called_of_clear(heard: Sequence[Heard]) -> float:
    """The share of right calls among the utterances that are clear."""
    tally = Tally()
    for one in heard:
        if one.utterance.steps:
            tally.take(one.verdict)
    return tally.share("called")


def short_of(heard: Sequence[Heard]) -> list[str]:
    """Return what is below its bar, in words."""
    found = [f"harmful: {_line(one)}" for one in heard if one.verdict == "harmful"]
    for half in ("tuned", "held out"):
        these = [one for one in heard if one.utterance.half == half]
        tally = Tally()
        for one in these:
            tally.take(one.verdict)
        if (share := tally.share("called", "asked")) < RIGHT_BAR:
            found.append(f"{half}: {share:.1%} right or asked back, below {RIGHT_BAR:.0%}")
        if (share := called_of_clear(these)) < CALLED_BAR:
            found.append(f"{half}: {share:.1%} of what is clear called right, below {CALLED_BAR:.0%}")
    return found


def _same(path: str, given: object, wanted: object) -> bool:
    if path.endswith("prompt") and isinstance(given, str) and isinstance(wanted, str):
        return _bare(given) == _bare(wanted)
    if path.endswith("limit") and isinstance(given, str) and isinstance(wanted, str):
        return float(given.strip().lstrip("$")) == float(wanted.lstrip("$"))
    return given == wanted


def _bare(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .?!:\"'")


def _at(arguments: Mapping[str, Any], path: str) -> object:
    value: Any = arguments
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _utterance(kind: str, row: Mapping[str, Any]) -> Utterance:
    rows = row.get("steps", [row] if "tool" in row else [])
    also = tuple(row.get("also", ()))
    steps = tuple(Step(tools=(one["tool"], *also), arguments=one.get("arguments", {})) for one in rows)
    contexts: tuple[Context, ...] = ("run", "background", "judgement", "proposal", "sweep")
    context: Context = next((each for each in contexts if row.get(f"after_{each}")), "")
    return Utterance(kind=kind, say=row["say"], steps=steps, harmless=() if row.get("tool") else also, context=context)


def _before(context: Context) -> list[Entry]:
    """The turn before, in which a fan-out was run or started, a data set judged, or a sweep proposed or started."""
    if not context:
        return []
    if context == "proposal":
        return _proposed()
    told, answer = "A monoid in the category of endofunctors.", context == "run"
    name, run_id, arguments = "fanout", RUN, '{"spec": {"prompt": "What is a monad?"}}'
    if context == "background":
        name, told = "start_fanout", f"Started {RUN} in the background. watch_fanout {RUN} follows it."
    if context == "judgement":
        name, run_id, arguments = "judge", JUDGED, '{"spec": {"dataset": {"name": "support"}}}'
        told = f"Judgement {JUDGED} succeeded: 60 of 60 verdicts."
    if context == "sweep":
        name, run_id, arguments = "sweep", SWEPT, '{"spec": {"dataset": {"name": "support"}}}'
        told = f"Started {SWEPT} in the background. watch_sweep {SWEPT} follows it."
    asked = ToolRequest(call_id="before", name=name, arguments=arguments)
    entries = [from_user(1, "What is a monad?"), from_mind(1, 1, "", (asked,), author="mind")]
    (call,) = calls_of(entries[-1])
    entries.append(from_tool(call, told, ok=True, run=run_id, answer=told if answer else ""))
    said = from_mind(1, 2, told, author="mind")
    said["run"], said["quoted"] = run_id, answer
    return [*entries, said]


def _proposed() -> list[Entry]:
    spec = {"dataset": {"name": "support", "split": "dev"}, "budget": {"trials": 20}}
    planning = ToolRequest(call_id="before", name="plan_sweep", arguments=json.dumps({"spec": spec}))
    entries = [
        from_user(1, "find a better prompt for the data set support"),
        from_mind(1, 1, "I propose this sweep.", (planning,), author="mind"),
    ]
    entries.append(from_tool(calls_of(entries[-1])[0], "Up to 20 trials; it costs nothing.", ok=True))
    return [*entries, from_mind(1, 2, f"Up to 20 trials; it costs nothing.\n\n{START}", author="mind")]


def _done(call: OpenCall, fails: str) -> Entry:
    """Tell that a call was made, or why it could not be: what a tool would return is not the suite's subject."""
    tool = tools().get(call.name)
    if tool is None:
        return from_tool(call, f"There is no tool {call.name!r}.", ok=False)
    try:
        request_from(tool.method, arguments_of(call.arguments))
    except (BadArguments, ValueError) as error:
        return from_tool(call, f"Not called: {error}", ok=False)
    return from_tool(call, "Failed." if call.name == fails else f"{call.name}: done.", ok=call.name != fails)


def _line(one: Heard) -> str:
    calls = "; ".join(f"{call.name} {call.arguments}" for call in one.calls) or repr(one.text[:80])
    return f"{one.utterance.say!r} -> {calls}"


def _print(heard: Sequence[Heard], *, verbose: bool) -> None:
    print(f"{'half':9} {'kind':10} {'all':>4} {'called':>7} {'asked':>6} {'wrong':>6} {'harmful':>8} {'right':>7}")
    for (half, kind), tally in sorted(tallies(heard).items(), reverse=True):
        counts = [tally.counts.get(verdict, 0) for verdict in ("called", "asked", "wrong", "harmful")]
        figures = "{:>7} {:>6} {:>6} {:>8}".format(*counts)
        print(f"{half:9} {kind:10} {tally.all:>4} {figures} {tally.share('called', 'asked'):>7.1%}")
    for half in ("tuned", "held out"):
        share = called_of_clear([one for one in heard if one.utterance.half == half])
        print(f"{half}: {share:.1%} of the clear ones called right at once")
    for one in heard:
        if verbose and (one.verdict in {"wrong", "harmful"} or (one.verdict == "asked" and one.utterance.steps)):
            print(f"{one.verdict:8} {one.utterance.half:9} {_line(one)}")


@asynccontextmanager
async def _mind(*, real: bool) -> AsyncIterator[Mind]:
    """The planner, or a model whose money is on the ledger of a server of its own."""
    if not real:
        planner = OfflinePlanner(panel=PANEL)
        try:
            yield planner
        finally:
            await planner.close()
        return
    from whet_agent.model.billing import Billing
    from whet_agent.model.chat import ChatMind  # openai takes a second to import

    with tempfile.TemporaryDirectory(prefix="whet-utterances-") as folder:
        base_url, model = os.environ.get("OPENAI_BASE_URL", OPENAI_URL), os.environ.get("OPENAI_MODEL", FALLBACK_MODEL)
        known = f'[[endpoint]]\nname = "openai"\nbase_url = {json.dumps(base_url)}\n'
        async with children.server(Path(folder), known) as running:
            agent = Client(running.address, (running.data / "agent.token").read_text(encoding="utf-8").strip())
            account = Account(Purse(RunSums()), max_cost_nanos=None)
            billing = Billing(
                agent=agent, session_id="ses_suite", model=f"openai/{model}", heard=lambda _: None, account=account
            )
            mind = ChatMind(base_url=base_url, api_key=os.environ["OPENAI_API_KEY"], billing=billing)
            try:
                yield mind
            finally:
                await mind.close()
                await agent.close()


async def _run(*, real: bool, verbose: bool, half: str) -> int:
    async with _mind(real=real) as mind:
        print(f"mind: {mind.name}")
        heard = await hear_all(mind, [one for one in suite() if half in {"both", one.half}])
    _print(heard, verbose=verbose)
    short = short_of(heard)
    print("\n".join(short) if short else "every bar is met")
    return 1 if short else 0


def main() -> int:
    """Run the suite."""
    parser = argparse.ArgumentParser(prog="python -m whet_eval.utterances", description=__doc__)
    parser.add_argument("--mind", action="store_true", help="ask the tool-calling model of OPENAI_API_KEY")
    parser.add_argument("--verbose", action="store_true", help="list what was not called right")
    parser.add_argument("--half", choices=("both", "tuned", "held out"), default="both")
    given = parser.parse_args()
    if given.mind and not os.environ.get("OPENAI_API_KEY"):
        print("--mind needs a model that calls tools: set OPENAI_API_KEY (and OPENAI_BASE_URL, OPENAI_MODEL).")
        return 2
    try:
        return asyncio.run(_run(real=given.mind, verbose=given.verbose, half=given.half))
    except MindError as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
