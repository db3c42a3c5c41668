"""The mind that needs no model."""

import json

from whet_agent.conversation import Entry, ToolRequest
from whet_agent.events import OFFLINE_PLANNER
from whet_agent.model.base import Moment, Saying, Thought


class OfflinePlanner:
    """Asks the panel."""

    name = OFFLINE_PLANNER

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        last = moment.entries[-1]
        if last["m"]["role"] == "tool":
            return _answer(last)
        question = {"spec": {"prompt": last["m"]["content"]}}
        return Thought(calls=(ToolRequest(call_id="call00001", name="fanout", arguments=json.dumps(question)),))

    async def close(self) -> None:
        """Nothing to give up."""


def _answer(entry: Entry) -> Thought:
    if entry.get("answer"):
        return Thought(text=entry["answer"], simulated=entry["simulated"], quoted_run=entry["run"])
    return Thought(text=entry["m"]["content"], simulated=entry["simulated"])
