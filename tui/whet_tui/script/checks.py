"""What holds after a turn, and what does not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from whet_agent.json_object import JsonView
from whet_tui.entries import dollars
from whet_tui.plain import counted
from whet_tui.script.matching import arguments_of, fits, found
from whet_tui.script.schema import ApprovalCheck, BranchCheck, Expectation, TextCheck, ToolCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One expectation and what spoke against it; `failure` is empty when it is met."""

    line: int
    what: str
    failure: str = ""


def checked(expectation: Expectation, facts: JsonView) -> Checked:
    """Hold an expectation against what a turn came to."""
    what, failure = _CHECKS[expectation.kind](expectation.value, facts)
    return Checked(line=expectation.line, what=what, failure=failure)


def _tool(check: ToolCheck, facts: JsonView) -> tuple[str, str]:
    calls = [call for call in facts["calls"] if call["tool"] == check.name]
    hits = [call for call in calls if fits(check.arguments, arguments_of(check.name, call["arguments_json"]))]
    often = "is called" if check.times is None else f"is called {counted(check.times, 'time', 'times')}"
    what = f"tool {check.name} {often}{' with the arguments' if check.arguments else ''}"
    if (check.times is None and hits) or len(hits) == check.times:
        return what, ""
    told = "; ".join(f"{call['tool']} {call['arguments_json']}" for call in facts["calls"])
    return what, f"{len(hits)} of {len(calls)} such calls fit; called: {told or 'nothing'}"


def _no_tool(names: tuple[str, ...], facts: JsonView) -> tuple[str, str]:
    called = [call["tool"] for call in facts["calls"] if call["tool"] in names or "*" in names]
    return f"no tool {', '.join(names)} is called", f"called: {', '.join(called)}" if called else ""


def _text(name: str) -> Callable[[TextCheck, JsonView], tuple[str, str]]:
    def check(check: TextCheck, facts: JsonView) -> tuple[str, str]:
        text = str(facts[name])
        bare = text.casefold() if check.ignore_case else text

        def holds(part: str) -> bool:
            return (part.casefold() if check.ignore_case else part) in bare

        failures = [f"it does not contain {part!r}" for part in check.contains if not holds(part)]
        failures += [f"it contains {part!r}" for part in check.not_contains if holds(part)]
        if check.matches and not found(check.matches, text, ignore_case=check.ignore_case):
            failures.append(f"it does not match {check.matches!r}")
        if check.equals is not None:
            wanted = check.equals.casefold() if check.ignore_case else check.equals
            failures += [] if wanted.strip() == bare.strip() else [f"it is not {check.equals!r}"]
        return f"the {name} is as expected", "; ".join(failures) + (f". It is: {text}" if failures else "")

    return check


def _cost_below(limit: int, facts: JsonView) -> tuple[str, str]:
    """What is unknown or reserved may have been spent, so it counts."""
    spent = sum(facts["cost"].values())
    return f"the cost is below {dollars(limit)}", "" if spent < limit else f"it is {dollars(spent)}"


def _duration_below(limit: float, facts: JsonView) -> tuple[str, str]:
    took = facts["duration"]
    return f"it takes less than {limit:g} s", "" if took < limit else f"it took {took:.2f} s"


def _state(state: str, facts: JsonView) -> tuple[str, str]:
    why = f": {facts['failure']}" if facts["failure"] else ""
    return f"the turn is {state}", "" if facts["state"] == state else f"it is {facts['state']}{why}"


def _needs_approval(check: ApprovalCheck | None, facts: JsonView) -> tuple[str, str]:
    asked = facts["needs_approval"]
    if check is None:
        return "nobody needs to approve", "" if asked is None else f"{asked['tool']} needs approval"
    what = f"{check.tool or 'a call'} needs approval"
    if asked is None:
        return what, "nothing waited for a decision"
    return what, "" if asked_for(check, asked) else f"{asked['tool']} ({asked['effect']}) does"


def asked_for(check: ApprovalCheck, asked: JsonView) -> bool:
    """Whether the question is the one that the script expects."""
    return check.tool in {"", asked["tool"]} and check.effect in {"", asked["effect"]}


def _branches(check: BranchCheck, facts: JsonView) -> tuple[str, str]:
    branches = facts["branches"]
    done = sum(branch["state"] == "done" for branch in branches)
    what = f"at least {counted(check.at_least, 'branch', 'branches')}, {check.done} of them done"
    enough = len(branches) >= check.at_least and done >= check.done
    return what, "" if enough else f"there are {len(branches)}, {done} of them done"


def succeeded(code: int, facts: JsonView) -> Checked:
    """What is expected of a turn about whose end nothing is said."""
    failed = next((call["result"] for call in reversed(facts["calls"]) if call["state"] == "failed"), "")
    why = facts["failure"] or failed or f"it is {facts['state']}"
    return Checked(line=0, what="the turn succeeds", failure=why if code else "")


_CHECKS: Final[Mapping[str, Callable[[Any, JsonView], tuple[str, str]]]] = {
    "tool": _tool,
    "no_tool": _no_tool,
    "text": _text("text"),
    "answer": _text("answer"),
    "cost_below": _cost_below,
    "duration_below": _duration_below,
    "state": _state,
    "needs_approval": _needs_approval,
    "branches": _branches,
}
