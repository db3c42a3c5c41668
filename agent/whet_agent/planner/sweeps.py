"""From a wish to a sweep under way: look, propose, plan, start, follow, one step after the other.

What was done of it stands in the conversation. The spec is taken from the plan that was made of it, so that what is
started is what was shown, whatever has changed in the meantime.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from whet_agent.client import CallError
from whet_agent.conversation import Entry, OpenCall, arguments_of, calls_of
from whet_agent.json_object import JsonObject
from whet_agent.planner.facts import Looking
from whet_agent.planner.plan import Call, Calls, Follow, GiveMore, Propose, Say
from whet_agent.proposing import Facts, KnownModel, Proposal, propose
from whet_agent.results import dollars

_UNKNOWN_SUM: Final = "What may it spend in all? Say `raise the budget to` and a sum."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """Proposes sweeps with what can be looked at; without a server to look at, with what was said."""

    looking: Looking | None = None
    panel: tuple[str, ...] = ()

    async def proposed(self, plan: Propose, done: Sequence[Entry]) -> Calls | Say:
        """Return the steps of a proposed sweep. `done` is what was said and answered since the wish."""
        if (spec := _planned(done)) is None:
            try:
                facts = await self._facts(plan)
            except CallError as error:
                return Say(text=f"The data set {plan.wish.dataset} could not be read: {error}")
            found = propose(plan.wish, facts)
            if found.against:
                return Say(text=found.against)
            return Calls(calls=(Call(tool="plan_sweep", arguments={"spec": found.spec}),), before=_grounds(found))
        return Calls(calls=_steps(spec, done, only_plan=plan.only_plan, behind=plan.behind))

    async def _facts(self, plan: Propose) -> Facts:
        if self.looking is None:
            return Facts(models=[KnownModel(name=name) for name in self.panel])
        return await self.looking.facts(plan.wish.dataset, plan.wish.version)

    def followed(self, plan: Follow, done: Sequence[Entry]) -> Calls:
        """Return the steps of a sweep that follows another one."""
        spec = _planned(done) or {"chain": {"parent_run_id": plan.run_id, "step": plan.step}}
        return Calls(calls=_steps(spec, done, only_plan=False, behind=False))

    async def given_more(self, plan: GiveMore, done: Sequence[Entry]) -> Calls | Say:
        """Return the call that raises a sweep's budget: the contract wants the whole sum."""
        asked = [call for entry in done for call in calls_of(entry)]
        if asked:
            return Calls(calls=(Call(tool=asked[0].name, arguments=_arguments(asked[0])),))
        if self.looking is None:
            return Say(text=_UNKNOWN_SUM)
        try:
            budget = await self.looking.money_of(plan.run_id)
        except CallError as error:
            return Say(text=f"The sweep {plan.run_id} could not be read: {error}")
        if budget is None:
            return Say(text=f"{plan.run_id} has no cap of money of its own. {_UNKNOWN_SUM}")
        whole = dollars(budget + round(float(plan.money.lstrip("$")) * 1e9))
        retune = {"budget": {"money": whole}}
        arguments = {"run_id": plan.run_id, "action": "retune", "retune": retune}
        return Calls(calls=(Call(tool="control_sweep", arguments=arguments),))


def _planned(done: Sequence[Entry]) -> JsonObject | None:
    """Return the spec of the plan that was made since the wish."""
    for entry in done:
        for call in calls_of(entry):
            if call.name == "plan_sweep":
                return dict(_arguments(call).get("spec", {}))
    return None


def _arguments(call: OpenCall) -> JsonObject:
    return dict(arguments_of(call.arguments))


def _steps(spec: JsonObject, done: Sequence[Entry], *, only_plan: bool, behind: bool) -> tuple[Call, ...]:
    """Return the steps, as far as they can be named: a sweep that has not begun has no name to follow it by."""
    steps = [Call(tool="plan_sweep", arguments={"spec": spec})]
    if not only_plan:
        steps.append(Call(tool="sweep", arguments={"spec": spec}))
    begun = [entry["run"] for entry in done if entry.get("tool") == "sweep" and entry.get("ok") and entry.get("run")]
    if begun and not behind:
        steps.append(Call(tool="watch_sweep", arguments={"run_id": begun[0]}))
    return tuple(steps)


def _grounds(proposal: Proposal) -> str:
    """Return what is proposed and why."""
    return "\n".join(["I propose this sweep:", "", *(f"- {ground}" for ground in proposal.grounds)])
