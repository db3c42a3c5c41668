"""From a wish to a sweep under way: look, propose, plan and ask; after a yes, start and follow.

What was done of it stands in the conversation. The spec is taken from the plan that was made of it, so that what is
started is what was shown, whatever has changed in the meantime.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from whet_agent.client import CallError
from whet_agent.conversation import Entry, OpenCall, arguments_of, calls_of
from whet_agent.json_object import JsonObject
from whet_agent.planner.facts import Looking
from whet_agent.planner.plan import START, WHICH, Call, Calls, Follow, GiveMore, Propose, Say, Start
from whet_agent.proposing import Facts, KnownModel, Proposal, Wish, propose
from whet_agent.results import dollars

_UNKNOWN_SUM: Final = "What may it spend in all? Say `raise the budget to` and a sum."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """Proposes sweeps with what can be looked at; without a server to look at, with what was said."""

    looking: Looking | None = None
    panel: tuple[str, ...] = ()

    async def proposed(self, plan: Propose, done: Sequence[Entry]) -> Calls | Say:
        """Return the steps of a proposed sweep. `done` is what was said and answered since the wish."""
        if (spec := _planned(done)) is not None:
            return _shown(spec)
        try:
            wish = await self._with_dataset(plan)
            if not wish.dataset:
                return await self._which()
            facts = await self._facts(wish)
        except CallError as error:
            return await self._which(f"The data set {plan.wish.dataset} could not be read: {error}")
        found = propose(wish, facts)
        return Say(text=found.against) if found.against else _shown(found.spec, before=_grounds(found))

    async def _with_dataset(self, plan: Propose) -> Wish:
        """Return the wish over the one data set of the workspace whose name is among its words, if it names none."""
        if plan.wish.dataset or self.looking is None:
            return plan.wish
        words = re.findall(r"[\w.-]+", plan.said.lower())
        named = [name for name in await self.looking.datasets() if name in words]
        return replace(plan.wish, dataset=named[0]) if len(named) == 1 else plan.wish

    async def _which(self, why: str = "") -> Say:
        """Ask for the data set, with those that there are."""
        try:
            names = [] if self.looking is None else await self.looking.datasets()
        except CallError as error:
            return Say(text=why or f"The data sets could not be read: {error}")
        there_are = f"There is: {names[0]}." if len(names) == 1 else f"There are: {', '.join(names)}."
        return Say(text=" ".join(filter(None, (why, there_are if names else "", WHICH))))

    async def _facts(self, wish: Wish) -> Facts:
        if self.looking is None:
            return Facts(models=[KnownModel(name=name) for name in self.panel])
        return await self.looking.facts(wish.dataset, wish.version)

    def followed(self, plan: Follow, done: Sequence[Entry]) -> Calls:
        """Return the plan of a sweep that follows another one."""
        new: JsonObject = {"chain": {"parent_run_id": plan.run_id, "step": plan.step}}
        return _shown(_planned(done) or new | ({"budget": dict(plan.budget)} if plan.budget else {}))

    def started(self, plan: Start, done: Sequence[Entry]) -> Calls:
        """Return the steps that start what was shown. What has not begun has no name yet to follow it by."""
        steps = [Call(tool="sweep", arguments={"spec": plan.spec})]
        begun = [each["run"] for each in done if each.get("tool") == "sweep" and each.get("ok") and each.get("run")]
        if begun and not plan.behind:
            steps.append(Call(tool="watch_sweep", arguments={"run_id": begun[0]}))
        return Calls(calls=tuple(steps))

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


def _shown(spec: JsonObject, *, before: str = "") -> Calls:
    return Calls(calls=(Call(tool="plan_sweep", arguments={"spec": spec}),), before=before, after=START)


def _grounds(proposal: Proposal) -> str:
    """Return what is proposed and why."""
    return "\n".join(["I propose this sweep:", "", *(f"- {ground}" for ground in proposal.grounds)])
