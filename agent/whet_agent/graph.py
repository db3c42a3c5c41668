"""The agent's graph: think, then act once per call, then think again. The only user of LangGraph."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = (
    "true"  # checkpoints are data: nothing in them may name a class to construct; read at import
)

import contextvars
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, NotRequired, TypedDict

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, StateSnapshot, interrupt
from langsmith.run_helpers import tracing_context

from whet_agent.conversation import Entry, OpenCall, from_user, open_calls, planned, turn_of, upsert
from whet_agent.events import Happening
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.nodes import Context, TooManySteps, act, think, unnamed_file

BUSY_MILLISECONDS: Final = 5_000
"""Several sessions share the checkpoints' file; each holds the lock for a moment only."""

CACHE_KIBIBYTES: Final = 256
"""Nothing in the checkpoints is read twice; a long conversation would fill SQLite's two megabytes for good."""

DURABILITY: Final = "sync"
"""A call is kept before it is made: a mind asked again after a crash would ask for another one, and the first be paid
for nothing.
"""


_ASKED: Final = "__interrupt__"
"""The name under which LangGraph streams what waits for a person."""


class State(TypedDict):
    """What is kept of a conversation."""

    log: Annotated[list[Entry], DeltaChannel(upsert)]
    turn: int


class Task(TypedDict):
    """One call to make. Plain data: it waits in the checkpoint."""

    call: JsonObject
    turn: int
    unnamed: NotRequired[str]
    """A file that the call would read and the person has not named."""
    planned: NotRequired[str]
    """The hash of the plan that was made of the same work."""


def build(saver: AsyncSqliteSaver) -> "CompiledStateGraph[State, Context, State, State]":
    """Return the graph. Nodes have no retry policy: whoever makes a call knows best when it may be made again."""

    async def _think(state: State, runtime: Runtime[Context]) -> JsonObject:
        live = replace(runtime.context, hear=_step_out()(runtime.stream_writer))
        return {"log": await think(state["log"], state["turn"], live)}

    async def _act(state: Task, runtime: Runtime[Context]) -> JsonObject:
        inside = _step_out()
        live = replace(runtime.context, hear=inside(runtime.stream_writer), ask=inside(interrupt))
        unnamed, hashed = state.get("unnamed", ""), state.get("planned", "")
        return {"log": await act(OpenCall(**state["call"]), state["turn"], live, unnamed=unnamed, planned=hashed)}

    def _calls(state: State) -> list[Send] | str:
        return [Send("act", _task(call, state)) for call in open_calls(state["log"])] or END

    graph = StateGraph(State, context_schema=Context)
    graph.add_node("think", _think)
    graph.add_node("act", _act, input_schema=Task)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", _calls, ["act", END])
    graph.add_edge("act", "think")
    return graph.compile(checkpointer=saver)


def _step_out() -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Let what a node does not carry the graph's context along; return how to do the little that needs it.

    Every timer keeps the context that it was made in until its time, also when it was cancelled long before. One of
    ten minutes for each thought would keep as many copies of a long conversation.
    """
    context = contextvars.copy_context()
    var_child_runnable_config.set(None)
    return lambda does: lambda given: context.run(does, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a conversation stands: what was said, the turn, whether a step is unfinished, what waits for a person,
    and answers that are in but not kept yet.
    """

    entries: list[Entry]
    turn: int
    unfinished: bool
    questions: Mapping[str, JsonView]
    """By the interrupt's id."""
    finished: dict[str, Entry]

    @property
    def of_turn(self) -> list[Entry]:
        """The turn as it stands. Writing drops what finished steps had not yet handed in, though it can be read."""
        said = {entry["k"]: entry for entry in self.entries if turn_of(entry) == self.turn}
        return list((said | self.finished).values())

    @property
    def closed(self) -> bool:
        """Whether the mind has said the last word."""
        last = self.entries[-1] if self.entries else None
        return not self.unfinished and last is not None and last["m"]["role"] == "assistant"


def thread_id(session_id: str, number: int) -> str:
    """Return the name under which checkpoints are kept."""
    return f"{session_id}/{number}" if number else session_id


class Thread:
    """One conversation's graph with its checkpoints."""

    def __init__(self, connection: aiosqlite.Connection, session_id: str, context: Context, number: int) -> None:
        self._connection = connection
        self._saver = AsyncSqliteSaver(connection)
        self._graph = build(self._saver)
        self._context = context
        self.go_to(thread_id(session_id, number))

    @classmethod
    async def open(cls, path: Path, session_id: str, context: Context, *, number: int = 0) -> "Thread":
        """Open the checkpoints of a session; `number` counts how often it was gone back in."""
        connection = await aiosqlite.connect(path)
        await connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        await connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        return cls(connection, session_id, context, number)

    def go_to(self, thread: str) -> None:
        """Go on with these checkpoints."""
        self._config = self._config_of(thread)

    async def copy(self, thread: str, entries: list[Entry]) -> None:
        """Write entries into checkpoints of their own, in place of what a killed attempt may have left there."""
        await self._saver.adelete_thread(thread)
        if entries:
            begun: Any = {"log": entries, "turn": turn_of(entries[-1])}
            await self._graph.aupdate_state(self._config_of(thread), begun, as_node="think")

    def _config_of(self, thread: str) -> RunnableConfig:
        return RunnableConfig(configurable={"thread_id": thread}, recursion_limit=2 * self._context.max_steps + 2)

    async def begin(self, turn: int, text: str, hear: Callable[[Happening], None]) -> bool:
        """Run a new turn until it ends or waits for a person; return whether it waits, as all below do."""
        return await self._run({"log": [from_user(turn, text)], "turn": turn}, hear)

    async def steer(self, turn: int, entries: Sequence[Entry], hear: Callable[[Happening], None]) -> bool:
        """Let the mind think once more in a turn that it had closed, about what it has not heard yet."""
        return await self._run({"log": list(entries), "turn": turn}, hear)

    async def go_on(self, hear: Callable[[Happening], None]) -> bool:
        """Take up the unfinished step."""
        return await self._run(None, hear)

    async def answer(self, decisions: Mapping[str, JsonView], hear: Callable[[Happening], None]) -> bool:
        """Hand in decisions by the interrupt's id and go on."""
        return await self._run(Command(resume=dict(decisions)), hear)

    async def _run(self, given: Any, hear: Callable[[Happening], None]) -> bool:
        waits = False
        with tracing_context(enabled=False):  # whatever the environment says: a conversation is nobody else's
            try:
                async for kind, told in self._graph.astream(
                    given,
                    self._config,
                    context=self._context,
                    stream_mode=["custom", "updates"],
                    durability=DURABILITY,
                ):
                    if kind == "custom":
                        hear(told)  # type: ignore[arg-type]  # the stream carries what our own nodes put in
                    else:
                        waits = waits or _ASKED in told
            except GraphRecursionError:
                raise TooManySteps("Stopped: the turn went in circles. Ask for something smaller.") from None
        return waits

    async def standing(self) -> Standing:
        """Read the whole conversation: not more often than it must be."""
        snapshot: StateSnapshot = await self._graph.aget_state(self._config)
        results = [entry for task in snapshot.tasks for entry in (task.result or {}).get("log", ())]
        return Standing(
            entries=list(snapshot.values.get("log", ())),
            turn=snapshot.values.get("turn", 0),
            unfinished=bool(snapshot.next),
            questions={waiting.id: waiting.value for waiting in snapshot.interrupts},
            finished={entry["k"]: entry for entry in results},
        )

    async def write(self, entries: list[Entry]) -> None:
        """Write entries as if the mind had just spoken. Calls that are open then are left to do; when there is none,
        nothing is.
        """
        await self._graph.aupdate_state(self._config, {"log": entries}, as_node="think")

    async def close(self) -> None:
        # A write may still be under way, whose step was cancelled. Cut in half it would hold the file's lock for as
        # long as anybody knows its cursor, however closed the connection is.
        async with self._saver.lock:
            await self._connection.rollback()
            await self._connection.close()


def _task(call: OpenCall, state: State) -> Task:
    unnamed = unnamed_file(call, state["log"])
    hashed = planned(call, state["log"]) if call.name == "sweep" else ""
    return Task(call=asdict(call), turn=state["turn"], unnamed=unnamed, planned=hashed)
