"""What a session may still spend.

A limit is the person's allowance, while the session is in that mode, or the most that the session may cost at all;
both count from its first call. What is left is the limit without what was settled, is unknown or is reserved, and
without what the session's runs may still take of their caps. The account only computes: the server keeps it,
because every run is given its share as its cap, and every thought of the mind what is left as its own.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

from google.protobuf.message import Message

from whet.v1 import fanout_pb2
from whet_agent.calls import Backend
from whet_agent.catalogue import Tool, request_from
from whet_agent.client import CallError
from whet_agent.conversation import Entry, OpenCall, arguments_of
from whet_agent.events import ApprovalMode, ModeChanged, Spent
from whet_agent.purse import Purse
from whet_agent.results import dollars
from whet_agent.runs import BEGINNING, IN_BACKGROUND, capped_by, fetching, fold_of


class Account:
    """A purse with a limit, and the mode that calls are answered in."""

    def __init__(
        self, purse: Purse, *, max_cost_nanos: int | None, held: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """`max_cost_nanos` None: only an allowance limits. `held` is what `Rewound` has kept."""
        self.mode: ApprovalMode = "ask"
        self._purse = purse
        self._max_cost = max_cost_nanos
        self._allowance = 0
        self._held = {name: (cap, "" if "/" in name else name) for name, cap in held.items()}
        """The cap of each run that may still spend, and its run if it is known, by the call's key."""

    def arrange(self, changed: ModeChanged) -> None:
        """Take the mode and the allowance that hold from now on."""
        self.mode, self._allowance = changed.mode, changed.allowance_nanos

    @property
    def limit(self) -> int | None:
        """The most that the session may spend in all; None when nothing limits it."""
        limits = [limit for limit in (self._max_cost, self._granted) if limit is not None]
        return min(limits, default=None)

    @property
    def left(self) -> int:
        """What may still be spent under the limit, which must be there."""
        return max(0, (self.limit or 0) - self._counted())

    def refusal(self) -> str:
        """Say that the limit is reached and how to go on."""
        counted = f"{dollars(self._counted())} is spent or held, and thinking once more could cross it"
        if self.limit == self._granted:
            return f"The session's allowance of {dollars(self.limit or 0)} is used up: {counted}. A larger one goes on."
        most = dollars(self.limit or 0)
        return f"The session may cost {most} at most: {counted}. Start it with a higher --max-cost to go on."

    async def take_stock(self, entries: Sequence[Entry], agent: Backend) -> Spent | None:
        """Read off the conversation which runs may still spend, and ask the server after those that nobody
        watches. Return the sums when they have changed.
        """
        before = self._purse.spent()
        self._read(entries)
        if self.limit is not None:
            held = [run_id for _, run_id in self._held.values() if run_id and not self._purse.has_ended(run_id)]
            for run_id in dict.fromkeys([*held, *self._purse.running]):
                await self._ask_after(run_id, agent)
        after = self._purse.spent()
        return after if after != before else None

    def owed(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Return what the runs of these entries may still spend, as `Rewound` keeps it."""
        self._read(entries)
        keys = {key for entry in entries for key in entry.get("caps", ())}
        held = [(run_id or key, cap) for key, (cap, run_id) in self._held.items() if key in keys]
        return {name: cap for name, cap in held if not self._purse.has_ended(name)}

    def share(self, calls: Sequence[OpenCall], tools: Mapping[str, Tool]) -> dict[str, int]:
        """Divide what is left among the runs that one step asks for, and hold it; return the cap of each by its
        key. What a modest one does not want goes to the others. Something stays for the mind, which thinks on while a
        run is in the background.
        """
        if self.limit is None:
            return {}
        wanted = {call.k: most for call in calls if (most := self._wanted(call, tools)) is not None}
        in_background = any(call.k in wanted and _is_started(tools[call.name]) for call in calls)
        shares, left, caps = len(wanted) + in_background, self.left, {}
        for place, (key, most) in enumerate(sorted(wanted.items(), key=lambda item: item[1])):
            caps[key] = min(most, left // (shares - place))
            left -= caps[key]
        self._held.update((key, (cap, "")) for key, cap in caps.items())
        return caps

    def _read(self, entries: Sequence[Entry]) -> None:
        """Read off the conversation which calls have a cap, and which runs they began."""
        answers = {entry["k"]: entry for entry in entries if entry["m"]["role"] == "tool"}
        for entry in entries:
            for key, cap in entry.get("caps", {}).items():
                answer = answers.get(key)
                if answer is None or answer.get("run") or answer.get("unsure"):
                    self._held[key] = (cap, answer.get("run", "") if answer else "")
                else:  # refused, before anything was begun
                    self._held.pop(key, None)

    @property
    def _granted(self) -> int | None:
        return self._allowance if self.mode == "allowance" else None

    def _counted(self) -> int:
        spent = self._purse.spent()
        open_caps = sum(
            0 if self._purse.has_ended(run_id) else max(0, cap - self._purse.of_run(run_id))
            for cap, run_id in self._held.values()
        )
        return spent.settled + spent.unknown + spent.reserved + open_caps

    def _wanted(self, call: OpenCall, tools: Mapping[str, Tool]) -> int | None:
        """Return the most that a call wants to spend; None for one that begins no run."""
        tool = tools.get(call.name)
        if tool is None or not issubclass(tool.method.request, BEGINNING):
            return None
        try:
            request = request_from(tool.method, arguments_of(call.arguments))
        except ValueError:
            return None  # it will not be made
        holder, name = capped_by(cast("fanout_pb2.RunFanoutRequest", request).spec)
        return getattr(holder, name).nanos if holder.HasField(name) else self.limit

    async def _ask_after(self, run_id: str, agent: Backend) -> None:
        try:
            fold = fold_of(await agent.call(*fetching(run_id)))
        except CallError:
            return  # it is held in full until somebody knows
        if fold is not None:
            self._purse.take_run(fold)


def capped(request: Message, cap: int | None) -> None:
    """Let a run spend no more than its share. The share is kept with the call, so that the request stays the same
    between asking and granting, and after a restart.
    """
    if cap is not None and isinstance(request, BEGINNING):
        holder, name = capped_by(request.spec)
        own = getattr(holder, name)
        own.nanos = min(own.nanos, cap) if holder.HasField(name) else cap


def _is_started(tool: Tool) -> bool:
    return issubclass(tool.method.request, IN_BACKGROUND)
