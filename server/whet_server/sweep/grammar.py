"""The part of minijinja that cannot run away, checked before minijinja sees a template.

Minijinja's fuel pays for every step and for every text that a step makes, but not for lists: a list of a list twice,
sixty times over, costs sixty steps and is never written out to its end. So what lets lists grow from step to step is
refused, with the place: no list is made of variables where a name is bound, and nothing but `range` is called. Nor does
its parser watch its stack for chains: a hundred thousand `not` in a row would end the process.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

FUNCTION: Final = "range"
"""The one function there is; it makes a hundred thousand numbers at most."""
WITHOUT: Final = ("batch", "chain", "slice", "sum", "zip")
"""Filters that put lists into lists, or together."""
_MOST_TOKENS: Final = 1_000
"""Of one piece of code; a list of some hundred labels is one. The stack holds ten times as many."""
_MOST_ELIF: Final = 500
_BLANK: Final = r"[ \t\r\n\f]*"
_OPEN: Final = re.compile(
    r"\{#.*?#\}"
    rf"|\{{%[-+]?{_BLANK}raw{_BLANK}[-+]?%\}}.*?\{{%[-+]?{_BLANK}endraw{_BLANK}[-+]?%\}}"
    r"|(?P<open>\{\{|\{%)[-+]?",
    re.DOTALL,
)
"""What ends plain text: a comment, a raw block, or the beginning of code."""
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<close>[-+]?(?:\}\}|%\}))|(?P<text>'(?:\\.|[^\\'])*'|"(?:\\.|[^\\"])*")"""
    r"""|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)|(?P<sign>.)""",
    re.DOTALL,
)
_BINDING: Final = frozenset({"for", "set"})
_TAGS: Final = frozenset({"if", "elif", "else", "endif", "endfor", "endset", "filter", "endfilter", *_BINDING})
_WORDS: Final = frozenset({"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", *_TAGS})
"""Names after which a bracket neither calls nor looks up."""


class Refused(Exception):
    """The template uses what is not available. `line` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_NOTHING: Final = _Token("sign", "", 0)


def check(source: str) -> frozenset[str]:
    """Return the paths that a bracket follows and that are no names of the template's own: minijinja does not count a
    name of which a part is taken, as in `input[:100]`. Raises `Refused`. What minijinja cannot read may pass.
    """
    place = alternatives = 0
    paths: set[str] = set()
    bound = {"loop"}
    while found := _OPEN.search(source, place):
        place = found.end()
        if found["open"]:
            tokens, place = _code(source, place)
            tag = None if found["open"] == "{{" else tokens[0].text if tokens else ""
            alternatives += tag == "elif"
            if len(tokens) > _MOST_TOKENS or alternatives > _MOST_ELIF:
                raise Refused(_line(source, found.start()), "this is too long for one expression")
            for token, what in _wrong(tag, tokens):
                raise Refused(_line(source, token.at), what)
            paths.update(_looked_into(tokens))
            bound.update(_bound(tag, tokens))
    return frozenset(path for path in paths if path.partition(".")[0] not in bound)


def _looked_into(tokens: Sequence[_Token]) -> Iterator[str]:
    """Yield the paths, such as `fields.text`, that a square bracket follows."""
    for place, token in enumerate(tokens):
        if token.text == "[" and place and tokens[place - 1].kind == "name":
            first = place - 1
            while first > 1 and tokens[first - 1].text == "." and tokens[first - 2].kind == "name":
                first -= 2
            if not first or tokens[first - 1].text not in {".", "|"}:
                yield "".join(each.text for each in tokens[first:place])


def _bound(tag: str | None, tokens: Sequence[_Token]) -> Iterator[str]:
    """Yield the names that a statement binds."""
    for token in tokens[1:] if tag in _BINDING else ():
        if token.text in {"in", "="}:
            return
        if token.kind == "name":
            yield token.text


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1


def _code(source: str, place: int) -> tuple[list[_Token], int]:
    """Return the tokens of a piece of code and where it ends."""
    tokens: list[_Token] = []
    while found := _TOKEN.match(source, place):
        place = found.end()
        kind = found.lastgroup or ""
        if kind == "close" or len(tokens) > _MOST_TOKENS:
            break
        if kind != "space":
            tokens.append(_Token(kind, found.group(), found.start()))
    return tokens, place


def _wrong(tag: str | None, tokens: Sequence[_Token]) -> Iterator[tuple[_Token, str]]:
    if tag is not None and tag not in _TAGS:
        yield tokens[0] if tokens else _NOTHING, f"`{tag}` is not available: there are if, for, set and filter"
    for place, token in enumerate(tokens):
        if token.text == "{":
            yield token, "`{` is not available: a template makes no mappings"
        if token.text == "(" and _calls(tokens, place):
            yield token, f"`{tokens[place - 1].text}()` is not available: besides filters and tests there is only range"
    if tag is not None and tag in _BINDING:
        yield from _lists(tag, tokens)


def _calls(tokens: Sequence[_Token], place: int) -> bool:
    """Whether the bracket at this place calls something that is neither a filter nor a test nor `range`."""
    if not _follows_value(tokens, place):
        return False
    called, ahead = tokens[place - 1], tokens[place - 2].text if place > 1 else ""
    if called.text == FUNCTION:
        return ahead == "."
    return called.kind != "name" or ahead not in {"|", "is", "not", "filter"}


def _lists(tag: str, tokens: Sequence[_Token]) -> Iterator[tuple[_Token, str]]:
    """Yield what may make a list of variables."""
    brackets: list[str] = []
    targets = True
    for place, token in enumerate(tokens):
        if token.text in {"(", "["}:
            brackets.append("of a value" if _follows_value(tokens, place) else token.text)
        elif token.text in {")", "]"}:
            del brackets[-1:]
        elif token.text in {"in", "="}:
            targets = False
        elif token.kind == "name" and "[" in brackets:
            yield token, f"a list in `{tag}` can only hold texts and numbers as they are"
        elif token.text == "," and brackets[-1:] in ([], ["("]) and not targets:
            yield token, f"`,` makes a list in `{tag}`, which can only be written in square brackets"
        elif token.text == "+" and not _ends_in_number(tokens[place + 1 :]):
            yield token, f"`+` in `{tag}` only adds a number at its end; `~` joins texts"


def _ends_in_number(tokens: Sequence[_Token]) -> bool:
    return len(tokens) == 1 and tokens[0].kind == "number"


def _follows_value(tokens: Sequence[_Token], place: int) -> bool:
    before = tokens[place - 1] if place else _NOTHING
    return before.text in {")", "]"} or (before.kind != "sign" and before.text.lower() not in _WORDS)
