"""Ask the mind what to say or do next."""

from collections.abc import Sequence

from opentelemetry import trace

from whet_agent.conversation import Entry, calls_of, from_mind, next_step
from whet_agent.events import AssistantSaid, MindSaid
from whet_agent.model.base import MindError, Moment
from whet_agent.nodes.context import Context

_tracer = trace.get_tracer("whet_agent")


class TooManySteps(MindError):
    """The turn goes in circles."""


async def think(entries: Sequence[Entry], turn: int, context: Context) -> list[Entry]:
    """Return what the mind says next, after what it has heard for the first time. Raises `MindError`."""
    fresh = context.unheard(turn, entries)
    entries = [*entries, *fresh]
    step = next_step(entries, turn)
    if step > context.max_steps:
        raise TooManySteps(f"Stopped after {context.max_steps} steps without an answer. Ask for something smaller.")

    def saying(attempt: int, offset: int, text: str) -> None:
        context.hear(MindSaid(turn=turn, step=step, attempt=attempt, offset=offset, text=text))

    await context.account.take_stock(entries, context.agent)
    moment = Moment(session_id=context.session_id, turn=turn, step=step, entries=entries, tools=context.tools)
    with _tracer.start_as_current_span("whet.mind", attributes={"whet.turn": turn, "whet.step": step}):
        thought = await context.mind.think(moment, saying)
    entry = from_mind(turn, step, thought.text, thought.calls, author=thought.author or context.mind.name)
    entry["simulated"] = thought.simulated
    if caps := context.account.share(calls_of(entry), context.tools):
        entry["caps"] = caps
    if thought.quoted_run:
        entry["run"], entry["quoted"] = thought.quoted_run, True
    for said in heard_of(entry):
        context.hear(said)
    return [*fresh, entry]


def heard_of(entry: Entry) -> list[AssistantSaid]:
    """Return what a listener hears of an entry of the mind's: nothing when it only asks for calls, or closes a cut
    turn.
    """
    turn, step = (int(part) for part in entry["k"].split("/"))
    text = entry["m"]["content"]
    if not text or not entry.get("author"):
        return []
    return [
        AssistantSaid(
            turn=turn,
            step=step,
            text=text,
            author=entry.get("author", ""),
            simulated=entry.get("simulated", False),
            run_id=entry.get("run", "") if entry.get("quoted") else "",
        )
    ]
