"""The agent's graph: think, then act once per call, then think again. The only user of LangGraph."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = (
    "true"  # checkpoints are data: nothing in them may name a class to construct; read at import
)

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, StateSnapshot, interrupt
from langsmith.run_helpers import tracing_context

from whet_agent.conversation import Entry, OpenCall, calls_of, from_user, upsert
from whet_agent.events import Happening
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.nodes import Context, TooManySteps, act, think

BUSY_MILLISECONDS: Final = 5_000
"""Several sessions share the checkpoints' file; each holds the lock for a moment only."""


DURABILITY: Final = "sync"
"""A call is kept before it is made: a mind asked again after a crash would ask for another one, and the first be paid
for nothing.
"""


class State(TypedDict):
    """What is kept of a conversation."""

    log: Annotated[list[Entry], DeltaChannel(upsert)]
    turn: int


class Task(TypedDict):
    """One call to make. Plain data: it waits in the checkpoint."""

    call: dict[str, str]
    turn: int


def build(saver: AsyncSqliteSaver) -> "CompiledStateGraph[State, Context, State, State]":
    """Return the graph. Nodes have no retry policy: whoever makes a call knows best when it may be made again."""

    async def _think(state: State, runtime: Runtime[Context]) -> JsonObject:
        return {"log": await think(state["log"], state["turn"], replace(runtime.context, hear=runtime.stream_writer))}

    async def _act(state: Task, runtime: Runtime[Context]) -> JsonObject:
        live = replace(runtime.context, hear=runtime.stream_writer, ask=interrupt)
        return {"log": await act(OpenCall(**state["call"]), state["turn"], live)}

    def _calls(state: State) -> list[Send] | str:
        return [Send("act", Task(call=asdict(call), turn=state["turn"])) for call in calls_of(state["log"][-1])] or END

    graph = StateGraph(State, context_schema=Context)
    graph.add_node("think", _think)
    graph.add_node("act", _act, input_schema=Task)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", _calls, ["act", END])
    graph.add_edge("act", "think")
    return graph.compile(checkpointer=saver)


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
    def closed(self) -> bool:
        """Whether the mind has said the last word."""
        last = self.entries[-1] if self.entries else None
        return not self.unfinished and last is not None and last["m"]["role"] == "assistant"


class Thread:
    """One conversation's graph with its checkpoints."""

    def __init__(self, connection: aiosqlite.Connection, session_id: str, context: Context) -> None:
        self._connection = connection
        self._saver = AsyncSqliteSaver(connection)
        self._graph = build(self._saver)
        self._context = context
        self._config = RunnableConfig(configurable={"thread_id": session_id}, recursion_limit=2 * context.max_steps + 2)

    @classmethod
    async def open(cls, path: Path, session_id: str, context: Context) -> "Thread":
        connection = await aiosqlite.connect(path)
        await connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        return cls(connection, session_id, context)

    async def begin(self, turn: int, text: str, hear: Callable[[Happening], None]) -> None:
        """Run a new turn until it ends or waits for a person."""
        await self._run({"log": [from_user(turn, text)], "turn": turn}, hear)

    async def go_on(self, hear: Callable[[Happening], None]) -> None:
        """Take up the unfinished step."""
        await self._run(None, hear)

    async def answer(self, decisions: Mapping[str, JsonView], hear: Callable[[Happening], None]) -> None:
        """Hand in decisions by the interrupt's id and go on."""
        await self._run(Command(resume=dict(decisions)), hear)

    async def _run(self, given: Any, hear: Callable[[Happening], None]) -> None:
        with tracing_context(enabled=False):  # whatever the environment says: a conversation is nobody else's
            try:
                async for happening in self._graph.astream(
                    given, self._config, context=self._context, stream_mode="custom", durability=DURABILITY
                ):
                    hear(happening)  # type: ignore[arg-type]  # the stream carries what our own nodes put in
            except GraphRecursionError:
                raise TooManySteps("Stopped: the turn went in circles. Ask for something smaller.") from None

    async def standing(self) -> Standing:
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
        """Write entries as if the mind had just spoken, so that nothing is left to do."""
        await self._graph.aupdate_state(self._config, {"log": entries}, as_node="think")

    async def close(self) -> None:
        # A write may still be under way, whose step was cancelled. Cut in half it would hold the file's lock for as
        # long as anybody knows its cursor, however closed the connection is.
        async with self._saver.lock:
            await self._connection.rollback()
            await self._connection.close()
