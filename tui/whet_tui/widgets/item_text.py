"""One judged item to read: input, answers with the judges' evidence set off, what judges, scorers and people say."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.style import Style
from rich.text import Text

from whet_tui.judging_values import DimensionScore, JudgedItem, Outcome, Quote, Rating, Verdict
from whet_tui.safe import safe, safe_line
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.judgement_sums import letter

_SHOWN: Final = 20_000
"""Letters of one text that are laid out: what is longer would stop the screen for seconds."""
_EVIDENCE: Final = Style(underline=True, bold=True)
"""Also seen without colours."""
_HIDDEN: Final = "What judges, scorers and other people say is hidden while you rate, so that it does not lead you."


def item_text(judged: JudgedItem, ink: Ink, *, blind: bool, rater: str) -> Text:
    """The whole item. `blind`: without anything that was said of it by others than `rater`."""
    item = judged.item
    text = Text(f"item {safe_line(item.item_id, 100)}", ink.you)
    _section(text, "input", shown(item.input), ink)
    for place, candidate in enumerate(item.candidates):
        name = "answer" if len(item.candidates) == 1 else f"answer {letter(place)}"
        writer = item.writers[place] if place < len(item.writers) and not blind else ""
        quotes = [] if blind else list(_quotes(judged.verdicts, place))
        _section(
            text, f"{name} · {safe_line(writer, 100)}" if writer else name, _with_quotes(candidate, quotes, ink), ink
        )
    if item.reference:
        _section(text, "what a right answer says", shown(item.reference), ink)
    if blind:
        text.append(f"\n\n{_HIDDEN}", ink.warning)
        return text
    _verdicts(text, judged, ink)
    _people(text, judged.ratings, rater, ink)
    return text


def _section(text: Text, title: str, content: Text, ink: Ink) -> None:
    text.append(f"\n── {title}\n", ink.muted).append_text(content)


def shown(content: str) -> Text:
    """A text of somebody else, as much of it as is laid out."""
    cut = safe(content[:_SHOWN])
    return Text(cut + _rest(content))


def _rest(content: str) -> str:
    left = len(content) - _SHOWN
    return f"\n… {left:,} more letters: whet judge get shows them" if left > 0 else ""


def _quotes(verdicts: Iterable[Verdict], candidate: int) -> Iterable[Quote]:
    for verdict in verdicts:
        for dimension in verdict.dimensions:
            yield from (quote for quote in dimension.quotes if quote.candidate == candidate)


def _with_quotes(content: str, quotes: Sequence[Quote], ink: Ink) -> Text:
    """An answer with its evidence set off. It passes the door piece by piece, because the door changes places."""
    text, place = Text(), 0
    for quote in sorted(quotes, key=lambda quote: (quote.start, -quote.end)):
        start, end = max(place, quote.start), min(quote.end, len(content), _SHOWN)
        if start < end:
            text.append(safe(content[place:start])).append(safe(content[start:end]), ink.accent + _EVIDENCE)
            place = end
    return text.append(safe(content[place:_SHOWN]) + _rest(content))


def _verdicts(text: Text, judged: JudgedItem, ink: Ink) -> None:
    judges = [verdict for verdict in judged.verdicts if verdict.judge]
    scorers = [verdict for verdict in judged.verdicts if not verdict.judge]
    whole = "no score over all criteria" if judged.score is None else f"score {judged.score:.2f}"
    text.append(f"\n\n{whole}").append(f" · disagreement {judged.disagreement:.2f}", ink.muted)
    for title, verdicts in (("judges", judges), ("scorers", scorers)):
        if verdicts:
            text.append(f"\n── {title}", ink.muted)
        for verdict in verdicts:
            text.append("\n").append_text(verdict_text(verdict, ink))


def verdict_text(verdict: Verdict, ink: Ink) -> Text:
    """One verdict: who, how it ended, and why."""
    who = verdict.judge or verdict.criterion
    text = Text(safe_line(who, 100), ink.accent)
    text.append(f" #{verdict.sample}" * (verdict.sample > 1))
    if verdict.outcome is Outcome.SCORED and verdict.score is not None:
        value = f" (value {verdict.value:.3g})" if verdict.value is not None else ""
        text.append(f"  {verdict.score:.2f}{value}", ink.good)
    else:
        text.append(f"  {verdict.outcome.words}", ink.bad)
    if verdict.ranking:
        text.append("  " + (" = " if verdict.tie else " > ").join(map(letter, verdict.ranking)))
        text.append(f" shown as {' '.join(map(letter, verdict.order))}" * bool(verdict.order), ink.muted)
    marks = [word for word in ("repaired", "cached", "degraded") if getattr(verdict, word)]
    text.append("".join(f" · {word}" for word in marks), ink.muted)
    text.append(" · simulated" * verdict.simulated, ink.simulated)
    if verdict.failure:
        text.append("\n  " + safe_line(verdict.failure, 400), ink.bad)
    if verdict.rationale:
        text.append("\n  " + safe_line(verdict.rationale, 2_000))
    for dimension in verdict.dimensions:
        text.append("\n").append_text(_dimension(dimension, ink))
    return text


def _dimension(dimension: DimensionScore, ink: Ink) -> Text:
    text = Text(f"  {safe_line(dimension.dimension, 60)}  ")
    text.append("abstained" if dimension.level is None else str(dimension.level), ink.good)
    text.append(f"  {safe_line(dimension.rationale, 2_000)}" if dimension.rationale else "", ink.muted)
    for quote in dimension.quotes:
        text.append(f"\n    “{safe_line(quote.text, 400)}”", ink.accent)
    return text


def _people(text: Text, ratings: Sequence[Rating], rater: str, ink: Ink) -> None:
    if ratings:
        text.append("\n── people", ink.muted)
    for each in ratings:
        who = f"{safe_line(each.rater, 60)}{' (you)' if each.rater == rater else ''}"
        text.append(f"\n{who}", ink.accent).append(f"  {safe_line(each.dimension, 60) or 'the whole'}  ")
        text.append(rating_words(each), ink.good)
        text.append(f" · {each.source}", ink.muted)
        text.append(f"  {safe_line(each.note, 2_000)}" if each.note else "", ink.muted)


def rating_words(rating: Rating) -> str:
    """The level, or the better answer."""
    if rating.preferred is None:
        return str(rating.level)
    return "tie" if rating.preferred < 0 else letter(rating.preferred)
