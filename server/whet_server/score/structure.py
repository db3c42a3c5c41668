"""JSON and Markdown: does a text have the structure that is asked for."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from whet_server.judging import Item
from whet_server.score.finding import DoesNotApply, Finding, at_most, candidate_of, share, yes_or_no
from whet_server.score.normal import normal
from whet_server.score.spec import JsonScorer, MarkdownScorer, Normalisation

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_CHARACTERS: Final = 200_000
"""Of a text that is read as JSON."""
MAX_MARKDOWN: Final = 50_000
"""Characters that are read as Markdown: nested brackets take its parser quadratic time, here half a second."""
_FENCES: Final = ("json", "jsonc", "json5", "")
_PLAIN: Final = Normalisation(ignore_punctuation=True)
SHOWN: Final = 300
"""Characters of what is wrong."""


def json_text(item: Item, scorer: JsonScorer) -> Finding:
    """1 when the candidate is JSON and follows the schema."""
    candidate = candidate_of(item)
    at_most(MAX_CHARACTERS, "characters", len(candidate))
    wrong = ""
    for text in (candidate, *(_fenced(candidate) if scorer.fenced else ())):
        problem = _problem(text, scorer.schema)
        if problem is None:
            return yes_or_no(True)
        wrong = wrong or problem
    return yes_or_no(False, wrong[:SHOWN])


def markdown(item: Item, scorer: MarkdownScorer) -> Finding:
    """The share of the demands on headings, lists, code blocks and tables that are met."""
    candidate = candidate_of(item)
    tokens = _parsed(candidate)
    headings = list(_headings(tokens))
    there = {normal(title, _PLAIN) for _, title in headings}
    unmet = [f"heading {title}" for title in scorer.headings if normal(title, _PLAIN) not in there]
    counted = (
        (scorer.min_list_items, "list_item_open", "list items"),
        (scorer.min_code_blocks, "fence", "code blocks"),
        (scorer.min_tables, "table_open", "tables"),
    )
    demands = len(scorer.headings) + sum(1 for least, _, _ in counted if least) + int(scorer.ordered_headings)
    for least, kind, what in counted:
        count = sum(token.type == kind for token in tokens)
        if count < least:
            unmet.append(f"{what}: {count} of {least}")
    levels = [level for level, _ in headings]
    if scorer.ordered_headings and any(after > before + 1 for before, after in pairwise(levels)):
        unmet.append("a heading level is skipped")
    return share(demands - len(unmet), demands, f"missing: {'; '.join(unmet)}"[:SHOWN] if unmet else "")


def _problem(text: str, schema: str) -> str | None:
    """Return what keeps a text from being JSON that follows the schema, or None."""
    try:
        content = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        return "The JSON is nested too deeply."
    except ValueError as error:
        return f"This is no JSON: {error}."
    return _against(content, schema) if schema else None


def _against(content: object, schema: str) -> str | None:
    from whet_server.schemas import Endless, problems  # loaded when somebody asks for it

    try:
        return next((f"{found.json_path}: {found.message}" for found in problems(content, schema)), None)
    except Endless as error:
        raise DoesNotApply(str(error)) from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _fenced(text: str) -> Iterator[str]:
    """Yield the contents of the fenced code blocks that may hold JSON."""
    for token in _parsed(text):
        if token.type == "fence" and token.info.split(" ")[0].strip().lower() in _FENCES:
            yield token.content


def _parsed(text: str) -> "list[Token]":
    from markdown_it import MarkdownIt  # loaded when somebody asks for it

    at_most(MAX_MARKDOWN, "characters", len(text))
    return MarkdownIt("commonmark").enable("table").parse(text)


def _headings(tokens: "list[Token]") -> Iterator[tuple[int, str]]:
    """Yield level and text of every heading."""
    for token, inside in pairwise(tokens):
        if token.type == "heading_open":
            words = [child.content for child in inside.children or () if child.type in {"text", "code_inline"}]
            yield int(token.tag[1:]), "".join(words)
