"""Run a script: say its turns, decide what it granted in advance, hold its expectations against what came."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from whet_agent.client import CallError
from whet_agent.events import ApprovalAsked, TurnEnded
from whet_agent.json_object import JsonObject
from whet_tui.cli.exits import FAILED, OK, USAGE, Stopped
from whet_tui.cli.talk import Talk
from whet_tui.entries import Entry, Money
from whet_tui.script.checks import Checked, asked_for, checked, succeeded
from whet_tui.script.facts import at, facts_of
from whet_tui.script.matching import arguments_of, fits
from whet_tui.script.schema import ApprovalCheck, Rule, Script, Turn
from whet_tui.script.variables import filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A turn and what was found about it."""

    name: str
    facts: JsonObject
    checks: tuple[Checked, ...]

    @property
    def ok(self) -> bool:
        return not any(check.failure for check in self.checks)


class Audience(Protocol):
    """Told what happens while a script runs."""

    def begun(self, number: int, name: str) -> None: ...

    def ended(self, played: Played) -> None: ...


@dataclass(slots=True, kw_only=True)
class Play:
    """One run of a script. `played` holds the turns so far, also after something was raised."""

    script: Script
    talk: Talk
    variables: dict[str, str]
    audience: Audience
    fail_fast: bool = False
    played: list[Played] = field(default_factory=list)
    _used: "Counter[int]" = field(default_factory=Counter)
    _turn: Turn | None = None
    _asked: ApprovalAsked | None = None

    async def run(self) -> int:
        """Return the exit code. Raises `Stopped` when a person must decide."""
        self.talk.undecided = self._decide
        await self.talk.finish()
        for number, turn in enumerate(self.script.turns, start=1):
            if self.talk.interruption.code:
                break
            await self._say(number, turn)
            if self.fail_fast and not self.played[-1].ok:
                break
        failed = FAILED if any(not played.ok for played in self.played) else OK
        return self.talk.interruption.code or failed

    async def _say(self, number: int, written: Turn) -> None:
        turn = self._turn = filled(written, self.variables)
        said = said_of(turn)
        name = turn.name or f"turn {number}"
        self._asked = None
        self.audience.begun(number, f"{name}: {said}")
        before, place, started = _copied(self.talk.view.status.money), len(self.talk.view.entries), time.monotonic()
        ended: TurnEnded | None = None
        failure = "interrupted"
        try:
            ended = await self.talk.say(said)
        except Stopped as stopped:
            failure = str(stopped)
            raise
        finally:
            entries = self.talk.view.entries[place:]
            facts = self._facts(entries, before, time.monotonic() - started) | {
                "say": said,
                "state": ended.state if ended is not None else "needs_decision",
                "failure": ended.failure if ended is not None else failure,
            }
            self._conclude(name, turn, ended, facts)

    def _facts(self, entries: list[Entry], before: Money, seconds: float) -> JsonObject:
        now = self.talk.view.status.money
        spent = Money(
            settled=now.settled - before.settled,
            unknown=now.unknown - before.unknown,
            reserved=now.reserved - before.reserved,
        )
        return facts_of(entries, spent=spent, seconds=seconds, asked=self._asked)

    def _conclude(self, name: str, turn: Turn, ended: TurnEnded | None, facts: JsonObject) -> None:
        if ended is None:
            checks = [Checked(line=turn.line, what="nobody needs to decide", failure=facts["failure"])]
        else:
            checks = [checked(expectation, facts) for expectation in turn.expect]
            if not {"state", "needs_approval"} & {each.kind for each in turn.expect if each.value is not None}:
                checks.insert(0, succeeded(self.talk.verdict(ended), facts))
            checks += self._save(turn, facts)
        self.played.append(Played(name=name, facts=facts, checks=tuple(checks)))
        self.audience.ended(self.played[-1])

    def _save(self, turn: Turn, facts: JsonObject) -> list[Checked]:
        failed = []
        for name, path in turn.save.items():
            try:
                self.variables[name] = at(facts, path)
            except LookupError as error:
                self.variables[name] = ""
                failed.append(Checked(line=turn.line, what=f"{name} is saved", failure=str(error.args[0])))
        return failed

    async def _decide(self, asked: ApprovalAsked) -> None:
        """Grant what a rule covers. A question that the turn expects is left to nobody: the turn is cancelled, which
        withdraws it. Any other ends the script. Raises `Stopped`.
        """
        for number, written in enumerate(self.script.approvals, start=1):
            rule: Rule = filled(written, self.variables)
            if self._used[number] < rule.times and covers(rule, asked):
                self._used[number] += 1
                reason = f"granted in advance by rule {number} of the script {self.script.name}"
                with suppress(CallError, LookupError):  # it has expired meanwhile: then the call asks anew
                    await self.talk.session.decide(asked.approval_id, grant=True, reason=reason, by="script")
                return
        self._asked = asked
        expected = [each.value for each in (self._turn.expect if self._turn else ()) if each.kind == "needs_approval"]
        question = {"tool": asked.tool, "effect": asked.effect}
        if any(isinstance(each, ApprovalCheck) and asked_for(each, question) for each in expected):
            self.talk.cancel()
        else:
            await self.talk.stop_undecided(asked)


def _copied(money: Money) -> Money:
    return Money(settled=money.settled, unknown=money.unknown, reserved=money.reserved)


def covers(rule: Rule, asked: ApprovalAsked) -> bool:
    """Whether a rule grants a question. What spends needs a bound, and a cost that nobody knows is below none."""
    if rule.digest:
        return rule.digest == asked.digest
    if rule.tool != asked.tool or rule.effect not in {"", asked.effect}:
        return False
    spends = asked.effect == "spends"
    if spends and (rule.worst_cost_below is None or not asked.worst_cost_nanos):
        return False
    if rule.worst_cost_below is not None and asked.worst_cost_nanos >= rule.worst_cost_below:
        return False
    return fits(rule.arguments, arguments_of(asked.tool, asked.arguments_json))


def said_of(turn: Turn) -> str:
    """What is sent: the words, or the call as the slash command that needs no mind."""
    return f"/{turn.tool} {json.dumps(turn.arguments, ensure_ascii=False)}" if turn.tool else turn.say


def settled(script: Script, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables' values. Raises `Stopped` for one that is unknown or missing."""
    known = script.variables
    if unknown := [name for name in given if name not in known]:
        raise Stopped(
            f"The script has no variable {unknown[0]!r}.", advice=f"It has: {', '.join(known) or 'none'}.", code=USAGE
        )
    values = {name: given.get(name, value) for name, value in known.items()}
    if missing := [name for name, value in values.items() if value is None]:
        raise Stopped(
            f"The variable {missing[0]!r} has no value.", advice=f"Give it: --var {missing[0]}=...", code=USAGE
        )
    return {name: value for name, value in values.items() if value is not None}
