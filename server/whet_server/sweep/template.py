"""Templates: minijinja with strict undefined, in the part of it that ends.

A template is compiled once and filled in thousands of times, on the event loop: it takes some ten microseconds. What
one filling can use is bounded by what the language leaves (`grammar.py`) and by fuel.
"""

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from whet_server.errors import InvalidField, TemplateFailed
from whet_server.sweep import grammar

if TYPE_CHECKING:
    from minijinja import TemplateError

MOST_SOURCE: Final = 200_000
"""Characters of a template, as in the contract."""
MOST_OUTPUT: Final = 2_000_000
"""Characters of a filled template: as much as one text of a request may have."""
FUEL: Final = 200_000
"""A step takes one, and 64 characters that it makes take one: a template that is filled with the longest texts takes
less than half of it, and one that never ends takes some hundredths of a second.
"""
_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_PATH_BEFORE: Final = re.compile(r"[^\W\d][\w.]*$")
_NAME: Final = "template"
_OUT_OF_FUEL: Final = "OutOfFuel"
_UNDEFINED: Final = "UndefinedError"

Known = Mapping[str, Collection[str] | None]
"""Names that there are, each with the names inside of it; None: whatever is asked of it."""


class Template:
    """A compiled template. Raises `TemplateFailed` for one that cannot be read."""

    def __init__(self, source: str) -> None:
        from minijinja import Environment, TemplateError  # on first use: a server at rest does without

        self.source = source
        self._environment = Environment(undefined_behavior="strict", debug=False, pycompat=False, fuel=FUEL)
        for name in grammar.WITHOUT:
            self._environment.remove_filter(name)
        try:
            looked_into = grammar.check(source)
            self._environment.add_template(_NAME, source)
        except grammar.Refused as error:
            raise _failed(error.line, str(error)) from None
        except TemplateError as error:
            raise _failed(error.line, error.detail or error.kind) from None
        nested = self._environment.undeclared_variables_in_template(_NAME, nested=True)
        self.paths = frozenset(nested | looked_into) - {grammar.FUNCTION}
        """What it asks for from outside, such as `input` and `params.tone`."""
        self.variables = frozenset(path.partition(".")[0] for path in self.paths)
        """The top-level names of these."""

    def fill(self, **values: Any) -> str:
        """Return the template filled in. Raises `TemplateFailed`, which says the line, what is undefined and what there
        is.
        """
        from minijinja import TemplateError

        try:
            filled = self._environment.render_template(_NAME, **values)
        except TemplateError as error:
            raise _failed(error.line, self._said(error, values)) from None
        if len(filled) > MOST_OUTPUT:
            raise _failed(None, f"filled in it has {len(filled)} characters; there may be {MOST_OUTPUT}")
        return filled

    def _said(self, error: "TemplateError", values: Mapping[str, Any]) -> str:
        if error.kind == _OUT_OF_FUEL:
            return "filling it in takes too many steps, or makes too long a text"
        if error.kind != _UNDEFINED:
            return error.detail or error.kind
        start, end = error.range or (0, 0)  # in bytes; of a path only its end
        code = self.source.encode()
        before = _PATH_BEFORE.search(code[:start].decode(errors="replace"))
        what = (before[0] if before else "") + code[start:end].decode(errors="replace")
        return undefined(what, {name: value if isinstance(value, dict) else None for name, value in values.items()})


def check(source: str, path: str, known: Known) -> Template:
    """Compile a template and check that it only asks for what there is. Raises `InvalidField` at `path`."""
    if len(source) > MOST_SOURCE:
        raise InvalidField((path, f"has {len(source)} characters; a template has at most {MOST_SOURCE}"))
    try:
        template = Template(source)
    except TemplateFailed as error:
        raise InvalidField((path, str(error))) from error
    wrong = [
        (path, f"line {_line_of(source, asked)}: {undefined(asked, known)}")
        for asked in sorted(template.paths)
        if not _is_known(asked, known)
    ]
    if wrong:
        raise InvalidField(*wrong)
    return template


def undefined(what: str, known: Known) -> str:
    """Say that this is undefined, and what there is."""
    top, _, inside = what.partition(".")
    names = known.get(top)
    if inside and names is not None and _PATH.fullmatch(what):
        there = f"`{top}` has " + (", ".join(sorted(names)) if names else "nothing")
    else:
        there = "there are " + ", ".join(sorted(known))
    return f"`{what}` is undefined; {there}"


def _is_known(asked: str, known: Known) -> bool:
    top, _, inside = asked.partition(".")
    if top not in known:
        return False
    names = known[top]
    return not inside or names is None or inside.partition(".")[0] in names


def _line_of(source: str, asked: str) -> int:
    """Return the first line, from 1, in which the name stands."""
    found = re.search(rf"(?<![\w.]){re.escape(asked)}(?!\w)", source)
    return source.count("\n", 0, found.start()) + 1 if found else 1


def _failed(line: int | None, what: str) -> TemplateFailed:
    if line is None:
        return TemplateFailed(what)
    return TemplateFailed(f"line {line}: {what}", metadata={"line": str(line)})
