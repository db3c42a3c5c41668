"""Slash commands: one for every tool of the catalogue, and short names for those that are typed often.

`/TOOL value --field value field=value`. A field is named by the last part of its path in the request; values without
a name fill the required fields first. What takes a prompt takes the rest of the line as the prompt. `/TOOL {...}` gives
all arguments as JSON.
"""

import io
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias

from whet_agent.catalogue import Tool
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.planner.plan import RUNS_OF, Call, Plan, Say, Situation

SHORT: Final[Mapping[str, str]] = {
    "approval": "get_approval",
    "approvals": "list_approvals",
    "audit": "get_audit",
    "ask": "fanout",
    "cache": "get_cache",
    "cancel": "cancel_fanout",
    "cap": "put_cap",
    "calibrations": "list_calibrations",
    "caps": "list_caps",
    "dataset": "get_dataset",
    "datasets": "list_datasets",
    "endpoint": "put_endpoint",
    "endpoints": "list_endpoints",
    "export": "export_trace",
    "gate": "gate_judgement",
    "hook": "put_hook",
    "hooks": "list_hooks",
    "judgement": "get_judgement",
    "judgements": "list_judgements",
    "ledger": "list_reservations",
    "models": "list_models",
    "plan": "plan_fanout",
    "ratings": "list_ratings",
    "report": "report_sweep",
    "rows": "list_rows",
    "rubric": "get_rubric",
    "rubrics": "list_rubrics",
    "run": "get_fanout",
    "runs": "list_fanouts",
    "scorers": "list_scorers",
    "start": "start_fanout",
    "sweeps": "list_sweeps",
    "test": "test_endpoint",
    "trace": "get_trace",
    "traces": "list_traces",
    "trials": "list_trials",
    "uncap": "delete_cap",
    "upload": "put_dataset",
    "usage": "get_usage",
    "verify": "verify_trace",
    "watch": "watch_fanout",
}

PROPOSE: Final = "propose"
"""The command that proposes a sweep, whoever thinks. It is no tool: what it comes to are calls of several."""

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
    def name(self) -> str:
        """Return what it is called: the last part of its path; a name within something is that thing's."""
        last = self.path[-1]
        inside = len(self.path) > 1 and last == "name"
        return self.path[-2] if inside else last.removesuffix("_run_id")

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
        arguments = _as_json(tool, rest.strip())
        return Call(
            tool=tool.name, arguments=_arguments(tool, rest.strip(), situation) if arguments is None else arguments
        )
    except ValueError as error:
        return Say(text=f"`/{name}`: {error}\n\n{usage_of(tool)}")


def _unknown(name: str, tools: Mapping[str, Tool]) -> str:
    near = get_close_matches(name, ["help", *SHORT, *tools], n=1)
    return f"There is no command `/{name}`.{f' Do you mean `/{near[0]}`?' if near else ''} `/help` lists them."


def _as_json(tool: Tool, rest: str) -> JsonObject | None:
    """Return arguments that were given whole, as one JSON object with the tool's own fields: what a script writes. A
    prompt may be JSON too; it has other fields.
    """
    try:
        given = json.loads(rest) if rest.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) and given.keys() <= tool.schema["properties"].keys() else None


def _arguments(tool: Tool, rest: str, situation: Situation) -> JsonObject:
    fields = list(_fields(tool.schema, ()))
    takes_prompt = any(field.path[-1] == "prompt" for field in fields)
    if not takes_prompt:
        rest = _LAST_RUN.sub("last", rest)
    values, loose = _options(rest, fields, takes_prompt=takes_prompt)
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
    _fill_run(tool, fields, values, situation)
    lacking = [field.path[-1] for field in fields if field.required and field.path not in values]
    if lacking:
        raise ValueError(f"{', '.join(lacking)} is missing.")
    return _nest({path: _typed(path, value, fields) for path, value in values.items()})


def _fill_run(tool: Tool, fields: Sequence[_Field], values: _Values, situation: Situation) -> None:
    """`last` is the last run of the conversation, of the kind that the tool is for, and so is no run where one is
    needed.
    """
    run = ("run_id",)
    needed = any(field.path == run and field.required for field in fields)
    if values.get(run, "last" if needed else "") == "last":
        last = situation.last(*RUNS_OF[tool.name]) if tool.name in RUNS_OF else situation.last_run
        if not last:
            raise ValueError("which run? There is none in this conversation yet; `/traces` lists them.")
        values[run] = last


def _easily_meant(field: _Field) -> bool:
    return len(field.path) == 1 and ("enum" in field.schema or field.path[-1] in {"endpoint", "run_id"})


def _options(rest: str, fields: Sequence[_Field], *, takes_prompt: bool) -> tuple[_Values, list[str]]:
    """Split a line into named values and the rest: words, or the one text that is a prompt.

    In a prompt only `--flag` is a name, wherever it stands outside quotes, and only one that the tool knows: what
    follows ` -- ` is the prompt's, whatever it looks like.
    """
    by_name = {name: field for field in reversed(fields) for name in _names(field)}
    values: _Values = {}
    loose: list[str] = []
    words = ""
    while rest:
        token, following = _token(rest)
        option = _OPTION.fullmatch(token)
        field = by_name.get((option["a"] or option["c"]).replace("-", "_")) if option else None
        named = option is not None and (bool(option["a"]) or not words)
        if takes_prompt and rest.startswith("-- "):
            words, rest = f"{words}{rest[3:]}", ""
        elif option is not None and field is not None and (named or not takes_prompt):
            value = option["b"] if option["a"] else option["d"]
            if value is None:
                value, following = _token(following)
            _take(values, field, value)
            rest = following
        elif takes_prompt:
            words += rest[: len(rest) - len(following)]
            rest = following
        elif option is not None and option["a"]:
            raise ValueError(f"`{token}` is no option.")
        else:
            loose.append(token)
            rest = following
    return values, [_unquoted(words.strip())] if words.strip() else loose


def _take(values: _Values, field: _Field, value: str) -> None:
    if field.repeated:
        before = values.get(field.path)
        values[field.path] = [*(before if isinstance(before, list) else []), *value.split(",")]
    else:
        values[field.path] = value


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
    yield field.name
    yield last
    if field.repeated and last.endswith("s"):
        yield last.removesuffix("s").removesuffix("_id")
    if last in {"mode", "model", "enough", "deadline", "size", "temperature", "max_tokens"} and len(field.path) > 1:
        yield f"{field.path[-2]}_{last}"
    if last == "mode":
        yield "synthesis"


def options_of(tool: Tool) -> Mapping[str, JsonView]:
    """What can be named in the tool's command, with the schema of its value."""
    return {field.name.replace("_", "-"): field.schema for field in reversed(list(_fields(tool.schema, ())))}


def loose_of(tool: Tool) -> Sequence[tuple[str, JsonView]]:
    """What may be written without its name, the required first. Where a prompt is taken every loose word begins it."""
    fields = list(_fields(tool.schema, ()))
    if any(field.path[-1] == "prompt" for field in fields):
        return ()
    loose = [field for field in fields if field.required or _easily_meant(field)]
    return [(field.name, field.schema) for field in sorted(loose, key=lambda field: not field.required)]


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
    needed = [field.name.upper() for field in fields if field.required]
    options = [f"--{field.name.replace('_', '-')}" for field in fields if not field.required]
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
    wish = f"- `/{PROPOSE} WISH` – Propose a sweep: `/{PROPOSE} a cheaper model for the data set NAME`."
    return "\n".join([head, "", *lines, wish])
