"""Slash commands: one for every tool of the catalogue, and short names for those that are typed often.

`/TOOL value --field value field=value`. A field is named by the last part of its path in the request; values without
a name fill the required fields first. What takes a prompt takes the rest of the line as the prompt.
"""

import io
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias

from whet_agent.catalogue import Tool
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.planner.plan import Call, Plan, Say, Situation

SHORT: Final[Mapping[str, str]] = {
    "approval": "get_approval",
    "approvals": "list_approvals",
    "ask": "fanout",
    "cache": "get_cache",
    "cancel": "cancel_fanout",
    "cap": "put_cap",
    "caps": "list_caps",
    "endpoint": "put_endpoint",
    "endpoints": "list_endpoints",
    "export": "export_trace",
    "ledger": "list_reservations",
    "models": "list_models",
    "plan": "plan_fanout",
    "run": "get_fanout",
    "runs": "list_fanouts",
    "start": "start_fanout",
    "test": "test_endpoint",
    "trace": "get_trace",
    "traces": "list_traces",
    "uncap": "delete_cap",
    "usage": "get_usage",
    "verify": "verify_trace",
    "watch": "watch_fanout",
}

_OPTION: Final = re.compile(r"--(?P<a>[a-z][a-z_-]*)(?:=(?P<b>.*))?|(?P<c>[a-z][a-z_]*)=(?P<d>.*)", re.DOTALL)

_Values: TypeAlias = dict[tuple[str, ...], str | list[str]]
"""What was typed for the fields, by their paths."""

_LAST_RUN: Final = re.compile(r"(?:the )?last (?:run|fan-?out|one)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A scalar field somewhere in the request, or a list of scalars."""

    path: tuple[str, ...]
    schema: JsonView
    required: bool

    @property
    def repeated(self) -> bool:
        return bool(self.schema["type"] == "array")

    def takes(self, value: str) -> bool:
        """Whether a value without a name can be meant for it."""
        if "enum" in self.schema:
            return value.lower() in self.schema["enum"]
        if self.schema["type"] in {"integer", "number"}:
            return bool(re.fullmatch(r"-?\d+(\.\d+)?", value))
        pattern = self.schema.get("pattern")
        return self.schema["type"] == "string" and (not pattern or bool(re.search(pattern, value)))


def is_command(text: str) -> bool:
    """Whether the text begins with a slash and a word of its own; a path does not."""
    return re.match(r"/[a-z][a-z_-]*(?:\s|$)", text, re.IGNORECASE) is not None


def parse(text: str, tools: Mapping[str, Tool], situation: Situation) -> Plan:
    """Read a slash command. What cannot be read is answered with how it is written."""
    name, rest = (*text[1:].split(maxsplit=1), "")[:2]
    name = name.lower().replace("-", "_")
    if name in {"help", "h"}:
        return Say(text=help_text(tools, rest.strip()))
    tool = tools.get(SHORT.get(name, name))
    if tool is None:
        return Say(text=_unknown(name, tools))
    try:
        return Call(tool=tool.name, arguments=_arguments(tool, rest.strip(), situation))
    except ValueError as error:
        return Say(text=f"`/{name}`: {error}\n\n{usage_of(tool)}")


def _unknown(name: str, tools: Mapping[str, Tool]) -> str:
    near = get_close_matches(name, ["help", *SHORT, *tools], n=1)
    return f"There is no command `/{name}`.{f' Do you mean `/{near[0]}`?' if near else ''} `/help` lists them."


def _arguments(tool: Tool, rest: str, situation: Situation) -> JsonObject:
    fields = list(_fields(tool.schema, ()))
    takes_prompt = any(field.path[-1] == "prompt" for field in fields)
    if not takes_prompt:
        rest = _LAST_RUN.sub("last", rest)
    values, loose = _options(rest, fields, stop_at_words=takes_prompt)
    if takes_prompt:
        prompt = loose[0] if loose else situation.question
        if not prompt:
            raise ValueError("what should be asked?")
        values.setdefault(("spec", "prompt"), prompt)
        loose = []
    for value in loose:
        free = [field for field in fields if field.path not in values and not field.repeated and field.takes(value)]
        target = next((f for f in free if f.required), None) or next((f for f in free if _easily_meant(f)), None)
        if target is None:
            raise ValueError(f"`{value}` fits nothing.")
        values[target.path] = value
    _fill_run(fields, values, situation)
    lacking = [field.path[-1] for field in fields if field.required and field.path not in values]
    if lacking:
        raise ValueError(f"{', '.join(lacking)} is missing.")
    return _nest({path: _typed(path, value, fields) for path, value in values.items()})


def _fill_run(fields: Sequence[_Field], values: _Values, situation: Situation) -> None:
    """`last` is the last run of the conversation, and so is no run where one is needed."""
    run = ("run_id",)
    needed = any(field.path == run and field.required for field in fields)
    if values.get(run, "last" if needed else "") == "last":
        if not situation.last_run:
            raise ValueError("which run? There is none in this conversation yet; `/traces` lists them.")
        values[run] = situation.last_run


def _easily_meant(field: _Field) -> bool:
    return len(field.path) == 1 and ("enum" in field.schema or field.path[-1] in {"endpoint", "run_id"})


def _options(rest: str, fields: Sequence[_Field], *, stop_at_words: bool) -> tuple[_Values, list[str]]:
    """Split a line into named values and the rest: one string when the first loose word begins a prompt, else words."""
    by_name = {name: field for field in reversed(fields) for name in _names(field)}
    values: _Values = {}
    loose: list[str] = []
    while rest:
        token, following = _token(rest)
        option = _OPTION.fullmatch(token)
        field = by_name.get((option["a"] or option["c"]).replace("-", "_")) if option else None
        if option is None or (field is None and not option["a"]):
            if stop_at_words:
                return values, [_unquoted(rest)]
            loose.append(token)
            rest = following
            continue
        if field is None:
            raise ValueError(f"`{token}` is no option.")
        value = option["b"] if option["a"] else option["d"]
        if value is None:
            value, following = _token(following)
        if field.repeated:
            before = values.get(field.path)
            values[field.path] = [*(before if isinstance(before, list) else []), *value.split(",")]
        else:
            values[field.path] = value
        rest = following
    return values, loose


def _token(rest: str) -> tuple[str, str]:
    """Return the first word, in quotes or not, and what follows."""
    source = io.StringIO(rest)
    lexer = shlex.shlex(source, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        token = lexer.get_token() or ""
    except ValueError:  # a quotation that does not end is an apostrophe
        token, _, following = rest.partition(" ")
        return token, following.strip()
    return token, source.read().strip()


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2
    return text[1:-1] if quoted else text


def _names(field: _Field) -> Iterator[str]:
    last = field.path[-1]
    yield last
    if field.repeated and last.endswith("s"):
        yield last.removesuffix("s").removesuffix("_id")
    if last in {"mode", "model", "enough", "deadline", "size", "temperature", "max_tokens"} and len(field.path) > 1:
        yield f"{field.path[-2]}_{last}"
    if last == "mode":
        yield "synthesis"


def options_of(tool: Tool) -> Mapping[str, JsonView]:
    """What can be named in the tool's command, with the schema of its value."""
    return {field.path[-1].replace("_", "-"): field.schema for field in reversed(list(_fields(tool.schema, ())))}


def loose_of(tool: Tool) -> Sequence[tuple[str, JsonView]]:
    """What may be written without its name, the required first. Where a prompt is taken every loose word begins it."""
    fields = list(_fields(tool.schema, ()))
    if any(field.path[-1] == "prompt" for field in fields):
        return ()
    loose = [field for field in fields if field.required or _easily_meant(field)]
    return [(field.path[-1], field.schema) for field in sorted(loose, key=lambda field: not field.required)]


def _fields(schema: JsonView, path: tuple[str, ...], *, needed: bool = True) -> Iterator[_Field]:
    for name, inner in schema.get("properties", {}).items():
        required = needed and name in schema.get("required", ())
        if inner.get("type") == "object":
            yield from _fields(inner, (*path, name), needed=required)
        elif inner.get("type") != "array" or inner["items"].get("type") not in {"object", "array"}:
            yield _Field(path=(*path, name), schema=inner, required=required)


def _typed(path: tuple[str, ...], value: str | list[str], fields: Sequence[_Field]) -> object:
    if isinstance(value, list):
        return value
    kind = next((field.schema["type"] for field in fields if field.path == path), "string")
    try:
        if kind == "integer":
            return int(value)
        if kind == "number":
            return float(value)
    except ValueError:
        raise ValueError(f"{path[-1]} must be a number, not `{value}`.") from None
    return value.lower() in {"", "1", "true", "yes", "on"} if kind == "boolean" else value


def _nest(values: Mapping[tuple[str, ...], object]) -> JsonObject:
    nested: JsonObject = {}
    for path, value in values.items():
        inner = nested
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return nested


def usage_of(tool: Tool) -> str:
    """Return how the tool's command is written."""
    short = next((name for name, full in SHORT.items() if full == tool.name), tool.name)
    fields = list(_fields(tool.schema, ()))
    prompt = any(field.path[-1] == "prompt" for field in fields)
    needed = [field.path[-1].upper() for field in fields if field.required]
    options = [f"--{field.path[-1].replace('_', '-')}" for field in fields if not field.required]
    words = [f"/{short}", *needed, *(["[OPTIONS] PROMPT"] if prompt else [])]
    listed = f" Options: {', '.join(dict.fromkeys(options))}." if options and not prompt else ""
    return f"`{' '.join(words)}` – {tool.summary}.{listed}"


def help_text(tools: Mapping[str, Tool], topic: str = "") -> str:
    """Return every command, or the one that is asked for."""
    name = topic.lstrip("/").replace("-", "_")
    chosen = tools.get(SHORT.get(name, name))
    if chosen is not None:
        return usage_of(chosen)
    lines = [f"- {usage_of(tool).partition(' Options:')[0]}" for tool in tools.values()]
    head = (
        "Ask anything: the question goes to the panel and one answer is drafted from theirs. "
        "Or say what you want, or type a command:"
    )
    return "\n".join([head, "", *lines])
