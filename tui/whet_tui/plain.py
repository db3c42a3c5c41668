"""A conversation in plain lines: what `whet ask`, `whet demo` and `whet` without a terminal print.

Nothing is drawn twice or moved: a lane is told when its branch has ended, a draft when it begins, an answer when it is
whole. The state is the reducer's (`whet_tui.view`), the same that the chat draws.
"""

from collections.abc import Callable, Iterator

from whet_agent.events import Envelope
from whet_tui import swept
from whet_tui.entries import (
    Answer,
    Call,
    CallState,
    Card,
    Entry,
    Fanout,
    FanoutState,
    Judging,
    Lane,
    LaneState,
    Note,
    Said,
    Sweeping,
    dollars,
    money_line,
    with_amounts,
)
from whet_tui.judged import opening_words, progress_words
from whet_tui.marks import NOBODY, marked_text
from whet_tui.markup import without_markup
from whet_tui.safe import safe, safe_line
from whet_tui.view import View

_ECHO = 400
"""Characters of a message that are told again: whoever sent a book need not read it here."""
_WORDS = 60
"""Characters of a branch's text on its line: enough to recognise it, `whet fanout get` has the rest."""


class FanoutPrinter:
    """Tells of one fan-out what was not told yet."""

    def __init__(self) -> None:
        self._opened = False
        self._lanes: set[str] = set()
        self._revision = 0
        self._closed = False

    def lines(self, fanout: Fanout) -> Iterator[str]:
        """Yield the lines that are new since the last time."""
        if not self._opened and fanout.lanes:
            self._opened = True
            yield f"{fanout.run_id}: {counted(len(fanout.lanes), 'branch', 'branches')}"
        for lane in fanout.lanes.values():
            if lane.state.ended and lane.branch_id not in self._lanes:
                self._lanes.add(lane.branch_id)
                yield lane_line(lane)
        draft = fanout.draft
        if draft is not None and draft.revision > self._revision:
            self._revision = draft.revision
            seen = counted(len(draft.branch_ids), "branch", "branches")
            kind = "final draft" if draft.final else f"draft {draft.revision}"
            yield f"{kind} by {safe_line(draft.model)} from {seen}{_mark(simulated=draft.simulated)}"
        if fanout.ended and not self._closed:
            self._closed = True
            yield end_line(fanout)


class JudgingPrinter:
    """Tells of one judgement or audit what was not told yet: its beginning, every quarter of the way, its end."""

    def __init__(self) -> None:
        self._opened = False
        self._quarter = 0
        self._closed = False

    def lines(self, judging: Judging) -> Iterator[str]:
        """Yield the lines that are new since the last time."""
        if not self._opened and judging.planned:
            self._opened = True
            yield safe_line(opening_words(judging))
        quarter = 4 * judging.verdicts // judging.planned if judging.planned else 0
        if judging.ended and not self._closed:
            self._closed = True
            why = f": {judging.failure}" if judging.failure else ""
            yield safe_line(f"{progress_words(judging)}{why}")
        elif not judging.ended and self._quarter < quarter < 4:
            self._quarter = quarter
            yield safe_line(progress_words(judging))


class SweepPrinter:
    """Tells of one sweep what was not told yet: its beginning, each new best, what was done to it, its end."""

    def __init__(self) -> None:
        self._opened = False
        self._best: int | None = None
        self._controlled = ""
        self._closed = False

    def lines(self, sweep: Sweeping) -> Iterator[str]:
        """Yield the lines that are new since the last time."""
        if not self._opened and sweep.planned:
            self._opened = True
            yield safe_line(swept.opening_words(sweep))
        if sweep.ended and not self._closed:
            self._closed = True
            why = f": {sweep.failure}" if sweep.failure else ""
            yield safe_line(f"{swept.progress_words(sweep)}{why}")
            if verdict := swept.verdict_words(sweep):
                yield safe_line(verdict)
        elif not sweep.ended and sweep.best != self._best:
            self._best = sweep.best
            yield safe_line(f"{swept.best_words(sweep)} · {swept.progress_words(sweep)}")
        if sweep.controlled != self._controlled:
            self._controlled = sweep.controlled
            yield safe_line(sweep.controlled)


def lane_line(lane: Lane) -> str:
    """One branch that has ended, in a line."""
    sample = f" #{lane.sample}" if lane.sample > 1 else ""
    about = "~" if lane.estimated else ""
    facts = [lane.state.value, f"{lane.latency_ns / 1e9:.1f} s"]
    if lane.input_tokens or lane.output_tokens:
        facts.append(f"{about}{lane.input_tokens}+{lane.output_tokens} tokens")
    facts.append("cached" if lane.cached else money_line(lane.money))
    if lane.retries:
        facts.append(counted(lane.retries, "retry", "retries"))
    said = lane.failure if lane.state is not LaneState.DONE and lane.failure else lane.text
    simulated = _mark(simulated=lane.simulated)
    return f"[{lane.number}] {safe_line(lane.model)}{sample}{simulated}  {', '.join(facts)}  {safe_line(said, _WORDS)}"


def end_line(fanout: Fanout) -> str:
    """How a fan-out ended, in a line."""
    done = sum(lane.state is LaneState.DONE for lane in fanout.lanes.values())
    parts = [f"{done} of {counted(len(fanout.lanes), 'branch', 'branches')}", money_line(fanout.money)]
    if fanout.cache_hits:
        parts.append(counted(fanout.cache_hits, "cache hit", "cache hits"))
    why = f": {safe_line(fanout.failure)}" if fanout.failure else ""
    return f"{fanout.state.value} in {fanout.latency_ns / 1e9:.1f} s, {', '.join(parts)}{why}"


def answer_lines(fanout: Fanout) -> Iterator[str]:
    """Yield the fan-out's answer with its source marks, and what was found about it."""
    synthesis = fanout.synthesis
    if synthesis is not None and synthesis.text:
        text = safe(marked_text(fanout))
        yield text
        if NOBODY in text:
            yield f"({NOBODY}: no branch says this)"
        for vote in synthesis.votes:
            yield f"{counted(vote.votes, 'vote', 'votes')}: {safe_line(vote.answer, _WORDS)}"
        for dispute in synthesis.disputes:
            left, right = fanout.number(dispute.left_id), fanout.number(dispute.right_id)
            yield (
                f"[{left}] and [{right}] differ ({safe_line(dispute.kind)}): "
                f"{safe_line(dispute.left_text, _WORDS)} / {safe_line(dispute.right_text, _WORDS)}"
            )
        lonely = [claim for claim in synthesis.sole_claims if not claim.in_final]
        for claim in lonely:
            yield f"only [{fanout.number(claim.branch_id)}] says: {safe_line(claim.text)}"
        return
    if synthesis is not None and synthesis.failure:
        yield f"No synthesis: {safe(synthesis.failure)}"
    done = [lane for lane in fanout.lanes.values() if lane.state is LaneState.DONE]
    for lane in done:
        yield f"[{lane.number}] {safe_line(lane.model)}{_mark(simulated=lane.simulated)}\n{safe(lane.text)}"


class PlainPrinter:
    """Tells a conversation. `aside` takes what goes on, `answer` what was said at its end."""

    def __init__(self, aside: Callable[[str], None], answer: Callable[[str], None]) -> None:
        self.view = View()
        self.typed: set[str] = set()
        """Messages that stand on the terminal already, because they were typed there."""
        self._aside = aside
        self._answer = answer
        self._fanouts: dict[str, FanoutPrinter] = {}
        self._judgings: dict[str, JudgingPrinter] = {}
        self._sweeps: dict[str, SweepPrinter] = {}
        self._told: set[str] = set()

    def hear(self, envelope: Envelope) -> None:
        """Fold an envelope in and tell what is new."""
        for entry in self.view.apply(envelope):
            self._tell(entry)
        for card in self.view.cards.values():
            if self._new(card.approval_id):
                self._tell_card(card)

    def resumed(self, last: Envelope) -> None:
        """What happened earlier was printed then."""

    def _new(self, key: str) -> bool:
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def _tell(self, entry: Entry) -> None:
        match entry:
            case Said():
                if self._new(entry.key) and entry.text not in self.typed:
                    self._aside(f"> {safe(_echo(entry.text))}")
            case Call():
                self._tell_call(entry)
            case Answer():
                if entry.done and self._new(entry.key):
                    self._tell_answer(entry)
            case Note():
                if self._new(entry.key):
                    self._aside(f"{entry.level}: {safe(entry.text)}")

    def _tell_call(self, call: Call) -> None:
        if call.tool and self._new(call.key):
            self._aside(f"* {safe_line(call.tool)}")
        if call.fanout is not None:
            for line in self._fanouts.setdefault(call.key, FanoutPrinter()).lines(call.fanout):
                self._aside(f"  {line}")
        if call.judging is not None:
            for line in self._judgings.setdefault(call.key, JudgingPrinter()).lines(call.judging):
                self._aside(f"  {line}")
        if call.sweep is not None:
            for line in self._sweeps.setdefault(call.key, SweepPrinter()).lines(call.sweep):
                self._aside(f"  {line}")
        if call.state is CallState.FAILED and call.fanout is None and self._new(f"failed/{call.key}"):
            self._aside(f"  {safe_line(call.result)}")

    def _tell_answer(self, answer: Answer) -> None:
        for call in reversed(self.view.entries):
            if isinstance(call, Call) and call.fanout is not None and _quotes(answer, call.fanout):
                for line in answer_lines(call.fanout):
                    self._answer(line)
                break
        else:
            self._answer(safe(without_markup(answer.text)))
        self._aside(f"-- {safe_line(answer.author)}{_mark(simulated=answer.simulated)}")

    def _tell_card(self, card: Card) -> None:
        cost = f", up to {dollars(card.worst_cost_nanos)}" if card.worst_cost_nanos else ""
        if card.effect == "spends" and not cost:
            cost = ", how much is not known: a model has no price"
        self._aside(
            f"? {safe_line(card.tool)} waits for your decision: {safe_line(card.summary)} ({card.effect}{cost})"
        )
        for line in with_amounts(safe(card.arguments_json)).splitlines():
            self._aside(f"  {line}")


def _quotes(answer: Answer, fanout: Fanout) -> bool:
    """Whether the answer is the fan-out's own synthesis, word for word."""
    return (
        fanout.synthesis is not None
        and fanout.state is not FanoutState.FAILED
        and bool(answer.text.strip())
        and answer.text.strip() == fanout.synthesis.text.strip()
    )


def _echo(text: str) -> str:
    return text if len(text) <= _ECHO else f"{text[:_ECHO]}… ({len(text):,} characters)"


def _mark(*, simulated: bool) -> str:
    return " (simulated)" if simulated else ""


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun: `1 branch`, `2 branches`."""
    return f"{number} {one if number == 1 else many}"
