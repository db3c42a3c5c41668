"""Make a conversation that was cut off fit to go on.

A call that nobody answers makes every later request a 400 for good, and some servers refuse a user's message straight
after another one or after a tool's. So whatever ended a turn early, every open call gets an answer and the mind gets
a closing word.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from whet_agent.conversation import Entry, from_mind, from_tool, next_step, open_calls


def heal(
    entries: Sequence[Entry],
    turn: int,
    *,
    finished: Mapping[str, Entry],
    because: str,
    runs: Mapping[str, str] = MappingProxyType({}),
    asking: Collection[str] = (),
) -> list[Entry]:
    """Return what must be written so that the next message can follow. `finished` are answers that were in but not
    yet kept, by key: they stay what they are. `runs` are those that open calls had begun, by the same keys; `asking`
    are those that were only asked for. What may have begun a run that nobody can name is marked as unsure.
    """
    calls = open_calls(entries)
    answers = [
        finished.get(call.k)
        or from_tool(
            call,
            because,
            ok=False,
            run=runs.get(call.k, ""),
            unsure=call.k not in runs and call.k not in asking,
        )
        for call in calls
    ]
    whole = [*entries, *answers]
    if whole and (whole[-1]["m"]["role"] != "assistant"):
        answers.append(from_mind(turn, next_step(whole, turn), f"({because})", author=""))
    return answers
