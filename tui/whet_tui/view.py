"""The one reducer: what a session tells becomes what a conversation looks like.

`View.apply` is fed every envelope; the chat, plain output and JSON lines draw the same view. However the growing texts
are cut into pieces, and whatever is heard again after a reconnect, the view ends the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from whet_agent.conversation import CANCELLED
from whet_agent.events import (
    EXPIRED,
    ApprovalAsked,
    ApprovalDecided,
    AssistantSaid,
    Compacted,
    ContextUsed,
    Envelope,
    Expanded,
    MindSaid,
    ModeChanged,
    Notice,
    Renamed,
    Rewound,
    RunHeard,
    SessionOpened,
    Spent,
    Steered,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
    Withdrawn,
)
from whet_tui.entries import Answer, Call, CallState, Card, Entry, Fanout, Judging, Money, Note, Said, Status, Sweeping
from whet_tui.judged import hear_judging, is_judging
from whet_tui.lanes import grown, hear
from whet_tui.swept import hear_sweep, is_sweep


@dataclass(slots=True, kw_only=True)
class View:
    """A conversation as it stands. `entries` only grows, and an entry keeps its place and its key, until the person
    goes back: then `rewinds` grows by one and whoever has drawn entries draws those that are left anew.
    """

    entries: list[Entry] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)
    """Open approvals by id, oldest first."""
    status: Status = field(default_factory=Status)
    turns: list[int] = field(default_factory=list)
    """Turns that were asked for and have not ended; the first is under way."""
    waiting: list[Said] = field(default_factory=list)
    """Messages whose turn has not come: they enter the transcript when the one before has ended."""
    heard: int = 0
    """The sequence of the last journalled event."""
    places: dict[str, int] = field(default_factory=dict)
    """Where the entry with a key stands."""
    rewinds: int = 0
    """How often the person went back."""
    gone: set[int] = field(default_factory=set)
    """Turns that are no longer part of the conversation: what is still told of them changes nothing."""

    @property
    def busy(self) -> bool:
        return bool(self.turns)

    def apply(self, envelope: Envelope) -> list[Entry]:
        """Fold one envelope in and return the entries that it changed or added, in order. What was journalled and heard
        before changes nothing.
        """
        if envelope.sequence:
            if envelope.sequence <= self.heard:
                return []
            self.heard = envelope.sequence
        if getattr(envelope.happening, "turn", 0) in self.gone:
            return []
        return _APPLIED[type(envelope.happening)](self, envelope.happening)

    def find(self, key: str) -> Entry | None:
        place = self.places.get(key)
        return None if place is None else self.entries[place]

    def put(self, entry: Entry) -> list[Entry]:
        """Add an entry at the end."""
        self.places[entry.key] = len(self.entries)
        self.entries.append(entry)
        return [entry]

    def of_turn(self, turn: int) -> list[Entry]:
        """The entries since the turn began; all of them when nobody has said where. Thousands may stand above."""
        return self.entries[self.places.get(f"said/{turn}", 0) :]

    def last_answer(self) -> str:
        """The Markdown of the latest whole answer, empty when there is none."""
        for entry in reversed(self.entries):
            if isinstance(entry, Answer) and entry.done:
                return entry.text
        return ""


def _opened(view: View, opened: SessionOpened) -> list[Entry]:
    status = view.status
    status.session_id, status.mind, status.server = opened.session_id, opened.mind, opened.server
    status.panel, status.restored = opened.panel, opened.restored
    return []


def _said(view: View, said: UserSaid) -> list[Entry]:
    view.turns.append(said.turn)
    if isinstance(steer := view.find(f"said/{said.steered}"), Said):
        # It was said into a turn that ended too early and stands in the transcript: it is not shown twice.
        view.places[f"said/{said.turn}"] = view.places[steer.key]
        steer.turn, steer.steering = said.turn, False
        return [steer]
    entry = Said(key=f"said/{said.turn}", turn=said.turn, text=said.text)
    if len(view.turns) > 1:
        view.waiting.append(entry)
        return []
    return view.put(entry)


def _steered(view: View, steered: Steered) -> list[Entry]:
    key = f"said/{steered.turn}/{steered.number}"
    return view.put(Said(key=key, turn=steered.turn, text=steered.text, steering=True))


def _withdrawn(view: View, withdrawn: Withdrawn) -> list[Entry]:
    view.waiting = [said for said in view.waiting if said.turn != withdrawn.turn]
    view.turns = [turn for turn in view.turns if turn != withdrawn.turn]
    return []


def _rewound(view: View, rewound: Rewound) -> list[Entry]:
    place = view.places.get(f"said/{rewound.turn}", len(view.entries))
    # Words that became a message may stand before an earlier turn that was waiting already.
    kept = [
        entry
        for at, entry in enumerate(view.entries)
        if (at < place if isinstance(entry, Note) else entry.turn < rewound.turn)
    ]
    view.gone.update(e.turn for e in view.entries if not isinstance(e, Note) and e.turn >= rewound.turn)
    view.gone.update(turn for turn in view.turns if turn >= rewound.turn)
    view.entries[:] = kept
    view.places = {entry.key: at for at, entry in enumerate(view.entries)}
    messages = ((at, e.turn) for at, e in enumerate(view.entries) if isinstance(e, Said) and not e.steering)
    view.places |= {f"said/{turn}": at for at, turn in messages}
    view.cards = {key: card for key, card in view.cards.items() if card.turn < rewound.turn}
    view.turns = [turn for turn in view.turns if turn < rewound.turn]
    view.waiting = [said for said in view.waiting if said.turn < rewound.turn]
    view.rewinds += 1
    return []


def _answer(view: View, turn: int, step: int) -> Answer:
    key = f"answer/{turn}/{step}"
    entry = view.find(key)
    if not isinstance(entry, Answer):
        entry = Answer(key=key, turn=turn)
        view.put(entry)
    return entry


def _mind_said(view: View, said: MindSaid) -> list[Entry]:
    answer = _answer(view, said.turn, said.step)
    if answer.done or said.attempt < answer.attempt:
        return []
    if said.attempt > answer.attempt:
        answer.attempt, answer.text = said.attempt, ""
    answer.text = grown(answer.text, said.offset, said.text)
    return [answer]


def _assistant_said(view: View, said: AssistantSaid) -> list[Entry]:
    answer = _answer(view, said.turn, said.step)
    answer.text, answer.author, answer.run_id = said.text, said.author, said.run_id
    answer.simulated, answer.done, answer.attempt = said.simulated, True, 0
    calls = [entry for entry in view.of_turn(said.turn) if isinstance(entry, Call)]
    repeated = [call for call in calls if call.result == said.text]
    for call in repeated:
        call.repeated, call.result = True, said.text  # one text in memory instead of two
    if said.run_id:
        calls = [entry for entry in view.entries if isinstance(entry, Call)]
    quoted = [call for call in calls if said.run_id and call.fanout is not None and call.fanout.run_id == said.run_id]
    for call in quoted:
        if call.fanout is not None:
            call.fanout.author = said.author
    answer.quoted = bool(quoted)
    return [answer, *repeated, *quoted]


def _call(view: View, key: str, turn: int) -> Call:
    entry = view.find(f"call/{key}")
    if not isinstance(entry, Call):
        entry = Call(key=f"call/{key}", turn=turn)
        view.put(entry)
    return entry


def _tool_asked(view: View, asked: ToolAsked) -> list[Entry]:
    call = _call(view, asked.key, asked.turn)
    call.tool, call.arguments_json = asked.tool, asked.arguments_json
    return [call]


def _run_heard(view: View, heard: RunHeard) -> list[Entry]:
    call = _call(view, heard.key, heard.turn)
    call.run_id = heard.run_id or call.run_id
    if call.fanout is None and call.judging is None and call.sweep is None:
        if is_sweep(heard.event):
            call.sweep = Sweeping(run_id=heard.run_id)
        elif is_judging(heard.event):
            call.judging = Judging(run_id=heard.run_id)
        else:
            call.fanout = Fanout(run_id=heard.run_id)
    if call.fanout is not None:
        hear(call.fanout, heard.event)
        call.fanout.left &= not call.fanout.ended
    if call.judging is not None:
        hear_judging(call.judging, heard.event)
        call.judging.left &= not call.judging.ended
    if call.sweep is not None:
        hear_sweep(call.sweep, heard.event)
        call.sweep.left &= not call.sweep.ended
    return [call]


def _approval_asked(view: View, asked: ApprovalAsked) -> list[Entry]:
    call = _call(view, asked.key, asked.turn)
    call.state = CallState.DECIDING
    view.cards[asked.approval_id] = Card(
        approval_id=asked.approval_id,
        turn=asked.turn,
        key=asked.key,
        tool=asked.tool,
        summary=asked.summary,
        effect=asked.effect,
        arguments_json=asked.arguments_json,
        digest=asked.digest,
        worst_cost_nanos=asked.worst_cost_nanos,
        expires_at=asked.expires_at,
    )
    return [call]


def _approval_decided(view: View, decided: ApprovalDecided) -> list[Entry]:
    view.cards.pop(decided.approval_id, None)
    call = _call(view, decided.key, decided.turn)
    if call.state is CallState.DECIDING:
        goes_on = decided.granted or decided.reason == EXPIRED or bool(decided.arguments_json)
        call.state = CallState.RUNNING if goes_on else CallState.REJECTED
    return [call]


def _tool_answered(view: View, answered: ToolAnswered) -> list[Entry]:
    call = _call(view, answered.key, answered.turn)
    call.tool, call.result, call.run_id = answered.tool or call.tool, answered.text, answered.run_id or call.run_id
    view.cards = {key: card for key, card in view.cards.items() if card.key != answered.key}
    if answered.ok:
        call.state = CallState.DONE
    elif call.state is not CallState.REJECTED:
        call.state = CallState.CANCELLED if answered.text == CANCELLED else CallState.FAILED
    _leave(call)
    return [call]


def _spent(view: View, spent: Spent) -> list[Entry]:
    status = view.status
    status.money = Money(settled=spent.settled, unknown=spent.unknown, reserved=spent.reserved)
    status.input_tokens, status.output_tokens = spent.input_tokens, spent.output_tokens
    return []


def _mode_changed(view: View, changed: ModeChanged) -> list[Entry]:
    view.status.mode, view.status.allowance_nanos = changed.mode, changed.allowance_nanos
    return []


def _context_used(view: View, used: ContextUsed) -> list[Entry]:
    view.status.context_tokens, view.status.context_window = used.tokens, used.window
    return []


def _compacted(view: View, compacted: Compacted) -> list[Entry]:
    text = (
        f"Compacted: the mind reads a summary in place of turns 1 to {compacted.upto} "
        f"(about {compacted.tokens_before:,} tokens, now {compacted.tokens_after:,}). /expand undoes it."
    )
    return view.put(Note(key=f"note/{view.heard}", level="info", text=f"{text}\n{compacted.summary}"))


def _expanded(view: View, _: Expanded) -> list[Entry]:
    text = "The mind reads the whole conversation again."
    return view.put(Note(key=f"note/{view.heard}", level="info", text=text))


def _renamed(view: View, renamed: Renamed) -> list[Entry]:
    view.status.title = renamed.title
    return []


def _noticed(view: View, notice: Notice) -> list[Entry]:
    return view.put(Note(key=f"note/{view.heard}", level=notice.level, text=notice.text))


def _turn_ended(view: View, ended: TurnEnded) -> list[Entry]:
    changed = [entry for entry in view.of_turn(ended.turn) if _close(entry, ended)]
    view.cards = {key: card for key, card in view.cards.items() if card.turn != ended.turn}
    if ended.state == "cancelled":
        changed += view.put(Note(key=f"ended/{ended.turn}", level="info", text=ended.failure or "Cancelled."))
    elif ended.state == "failed":
        changed += view.put(Note(key=f"ended/{ended.turn}", level="error", text=ended.failure or "The turn failed."))
    if ended.turn in view.turns:
        view.turns.remove(ended.turn)
    if view.waiting and view.turns[:1] == [view.waiting[0].turn]:
        changed += view.put(view.waiting.pop(0))
    return changed


def _close(entry: Entry, ended: TurnEnded) -> bool:
    """Close what the turn left open; return whether there was anything."""
    if isinstance(entry, Answer) and entry.turn == ended.turn and not entry.done:
        entry.done = True
        return True
    if isinstance(entry, Call) and entry.turn == ended.turn and entry.state in {CallState.RUNNING, CallState.DECIDING}:
        entry.state = CallState.CANCELLED if ended.state == "cancelled" else CallState.FAILED
        _leave(entry)
        return True
    return False


def _leave(call: Call) -> None:
    """A run whose end was not told is no longer listened to."""
    for run in (call.fanout, call.judging, call.sweep):
        if run is not None:
            run.left = not run.ended


_APPLIED: Final[Mapping[type, Callable[[View, Any], list[Entry]]]] = {
    SessionOpened: _opened,
    UserSaid: _said,
    Steered: _steered,
    Withdrawn: _withdrawn,
    MindSaid: _mind_said,
    AssistantSaid: _assistant_said,
    ToolAsked: _tool_asked,
    RunHeard: _run_heard,
    ApprovalAsked: _approval_asked,
    ApprovalDecided: _approval_decided,
    ToolAnswered: _tool_answered,
    Spent: _spent,
    ModeChanged: _mode_changed,
    ContextUsed: _context_used,
    Compacted: _compacted,
    Expanded: _expanded,
    Rewound: _rewound,
    Renamed: _renamed,
    Notice: _noticed,
    TurnEnded: _turn_ended,
}
