"""Command line flags, made from the fields of a request message, and the arguments made from them again."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from whet_agent.json_object import JsonObject
from whet_agent.schema import enum_names, rule_of
from whet_tui.cli.short import FORMS, settle

_ATOMS: Final = frozenset({"google.protobuf.Duration", "google.protobuf.Timestamp", "whet.v1.Money"})
"""Messages that are written as one word."""
_WORK: Final = "spec"
"""The field that holds the work itself."""
_UNSAID: Final = frozenset({_WORK, "parameters", "judge", "policy"})
"""Fields whose names say nothing on a command line: `--max-tokens`, not `--spec-parameters-max-tokens`."""
_SAID: Final = frozenset({"whet.v1.SweepSpec.judge"})
"""But for these: a judge is what a judgement is about, and one part among many of a sweep."""
_NAME: Final = "name"
"""The field that stands for the whole message: `--dataset`, not `--dataset-name`."""
_FOR_THE_CALLER: Final = "request_id"
_METAVARS: Final = {
    "google.protobuf.Duration": "SECONDS",
    "google.protobuf.Timestamp": "TIME",
    "whet.v1.Money": "$AMOUNT",
}
_NUMBERS: Final = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_STDIN: Final = "-"
_FILE: Final = "@"
_FROM_FILES: Final = frozenset({"csv", "json_schema", "row_schema", "text"})
"""Texts that are read from a file when they are given as `@PATH`: none of them begins so. JSON may be, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One field of a request as it stands on the command line."""

    path: tuple[str, ...]
    """Where the field lies in the request: `("spec", "finish", "deadline")`."""
    name: str
    """Without the dashes: `finish-deadline`."""
    field: FieldDescriptor
    whole: bool = False
    """It gives a message as a whole, from a file; flags of single fields stand above it."""

    @property
    def parameter(self) -> str:
        """The name under which click hands the value over. Joined by something that no field name holds."""
        return "__".join(self.path)

    @property
    def required(self) -> bool:
        return rule_of(self.field).required and self.path != (_FOR_THE_CALLER,) and not self.whole

    @property
    def is_json(self) -> bool:
        message = self.field.message_type
        return message is not None and message.full_name not in _ATOMS


def flags_of(message: Descriptor) -> list[Flag]:
    """Return the flags of a request, in the order of its fields."""
    return list(_walk(message, (), ""))


def _walk(message: Descriptor, path: tuple[str, ...], prefix: str) -> Iterator[Flag]:
    for field in message.fields:
        here, word = (*path, field.name), (rule_of(field).flag or field.name).replace("_", "-")
        inner = field.message_type
        if inner is None or field.is_repeated or inner.full_name in _ATOMS:
            name = prefix.removesuffix("-") if prefix and field.name == _NAME else prefix + word
            yield Flag(path=here, name=name, field=field)
        else:
            if field.name == _WORK:
                yield Flag(path=here, name=prefix + word, field=field, whole=True)
            unsaid = field.name in _UNSAID and field.full_name not in _SAID
            yield from _walk(inner, here, prefix if unsaid else f"{prefix}{word}-")


def parameters_of(flags: Sequence[Flag]) -> list[click.Parameter]:
    """Return click's parameters: the one required field as an argument, all others as options."""
    return [_argument(flag) if flag is _alone(flags) else _option(flag) for flag in flags]


def spelled(flag: Flag, flags: Sequence[Flag]) -> str:
    """Return how a field is written on the command line: `--base-url`, or `NAME` for the argument."""
    return _metavar_of_argument(flag) if flag is _alone(flags) else f"--{flag.name}"


def _alone(flags: Sequence[Flag]) -> Flag | None:
    """Return the one required field. Of several, none is plainer than the others, and a list is given flag by flag."""
    required = [flag for flag in flags if flag.required]
    return required[0] if len(required) == 1 and not required[0].field.is_repeated else None


def _argument(flag: Flag) -> click.Argument:
    return click.Argument([flag.parameter], type=_type(flag), metavar=_metavar_of_argument(flag))


def _metavar_of_argument(flag: Flag) -> str:
    return flag.name.upper().replace("-", "_")


def _option(flag: Flag) -> click.Option:
    boolean = flag.field.cpp_type == FieldDescriptor.CPPTYPE_BOOL
    return click.Option(
        [f"--{flag.name}", flag.parameter],
        type=None if boolean else _type(flag),
        is_flag=boolean,
        default=None,
        required=flag.required,
        multiple=flag.field.is_repeated,
        metavar="FILE" if flag.whole else _metavar(flag),
        help=_help(flag),
    )


def _help(flag: Flag) -> str:
    if flag.whole:
        return "A YAML or JSON file with all of this, - for stdin; other flags stand above what it says."
    rule = rule_of(flag.field)
    many = " May be given several times." if flag.field.is_repeated else ""
    if flag.is_json and (message := flag.field.message_type) is not None:
        short = f" In short: {FORMS[message.full_name][1]}." if message.full_name in FORMS else ""
        many += f"{short} Its fields: {', '.join(field.name for field in message.fields)}."
    if flag.is_json or flag.field.name in _FROM_FILES:
        many += " @PATH reads it from a file, - from stdin."
    return (rule.description or flag.name.replace("-", " ").capitalize() + ".") + many


def _metavar(flag: Flag) -> str | None:
    message = flag.field.message_type
    return None if message is None else _METAVARS.get(message.full_name, "JSON")


def _type(flag: Flag) -> "click.ParamType[Any]":
    field, rule = flag.field, rule_of(flag.field)
    if field.enum_type is not None:
        return click.Choice(enum_names(field.enum_type), case_sensitive=False)
    if field.message_type is not None or field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return click.STRING
    low = rule.min if rule.HasField("min") else None
    high = rule.max if rule.HasField("max") else None
    if field.cpp_type in _NUMBERS:
        return click.FloatRange(low, high)
    if low is None and high is None:
        return click.INT
    return click.IntRange(None if low is None else int(low), None if high is None else int(high))


def arguments_from(flags: Sequence[Flag], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's arguments. A text given as `-` is read from stdin, so that a key or a long prompt need not
    stand on the command line; JSON and some texts are read from a file when they are given as `@PATH`. Raises
    `click.UsageError`.
    """
    arguments: dict[str, Any] = {}
    for flag in sorted(flags, key=lambda flag: not flag.whole):
        value = values.get(flag.parameter)
        if value is None or value == ():
            continue
        if flag.whole:
            arguments[flag.path[0]] = _whole(flag, value)
            continue
        if flag.is_json:
            value = [item for text in value for item in _objects(flag, text)]
        elif flag.field.is_repeated:
            value = list(value)
        elif flag.field.cpp_type == FieldDescriptor.CPPTYPE_STRING and flag.field.message_type is None:
            value = _text(flag, value) if flag.field.name in _FROM_FILES or value == _STDIN else value
        place = arguments
        for step in flag.path[:-1]:
            place = _inside(flag, place, step)
        place[flag.path[-1]] = value
    # The work itself must be there, even if nothing of it was said.
    for flag in flags:
        if flag.path[0] == _WORK:
            settle(arguments.setdefault(_WORK, {}))
    return arguments


def _inside(flag: Flag, place: JsonObject, step: str) -> JsonObject:
    inside: Any = place.setdefault(step, {})
    if not isinstance(inside, dict):
        raise click.UsageError(f"--{flag.name}: the file has no object at {step}.")
    return inside


def _whole(flag: Flag, given: str) -> JsonObject:
    """Return what a file says in YAML, of which JSON is a part. The @ of other flags may stand before its path."""
    import yaml  # only who gives a file waits for it

    text = _text(flag, given if given == _STDIN else _FILE + given.removeprefix(_FILE))
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark is not None else ""
        raise click.UsageError(f"--{flag.name}: {given} is no YAML{where}.") from error
    if not isinstance(content, dict):
        raise click.UsageError(f"--{flag.name}: {given} holds no object with fields.")
    return content


def stdin_text(what: str) -> str:
    """Return what stdin holds, without the line ends at its end. Raises `click.UsageError` naming `what` takes it."""
    try:
        return sys.stdin.buffer.read().decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{what}: stdin is not text in UTF-8 (byte {error.start}).") from error


def _text(flag: Flag, given: str) -> str:
    """Return what was given, what stdin holds for `-`, or what a file holds for `@PATH`."""
    if given == _STDIN:
        return stdin_text(f"--{flag.name}")
    if not given.startswith(_FILE):
        return given
    path = Path(given.removeprefix(_FILE))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise click.UsageError(f"--{flag.name}: {path} cannot be read: {why}.") from error


def _objects(flag: Flag, given: str) -> list[JsonObject]:
    """Return the object that was given, as JSON or in its short form; from a file or stdin also several, as a list or
    one a line.
    """
    form = FORMS.get(flag.field.message_type.full_name) if flag.field.message_type is not None else None
    if form is not None and not given.startswith((_STDIN, _FILE, "{")):
        if (found := form[0](given)) is None:
            raise click.UsageError(f"--{flag.name}: {given!r} is none of: {form[1]}; or give a JSON object.")
        return [found]
    text = _text(flag, given)
    try:
        values = [json.loads(text)]
    except ValueError:
        values = [_loaded(line) for line in text.splitlines() if line.strip()] if text != given else [None]
    if text != given and len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if not all(isinstance(value, dict) for value in values):
        raise click.UsageError(f"--{flag.name} takes a JSON object, such as --{flag.name} '{_example(flag)}'.")
    return values


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _example(flag: Flag) -> str:
    message = flag.field.message_type
    fields = message.fields if message is not None else []
    shown = [field for field in fields if rule_of(field).required or field.name == "candidates"] or fields[:1]
    return json.dumps({field.name: _sample(field) for field in shown})


def _sample(field: FieldDescriptor) -> Any:
    text = "sim/fast" if field.name == "model" else "..."
    return [text] if field.is_repeated else text


def in_flags(flags: Sequence[Flag], text: str) -> str:
    """Return an error's text with the field it begins with named as the flag that was typed."""
    for flag in sorted(flags, key=lambda flag: -len(flag.path)):
        path = ".".join(flag.path)
        if text == path or text.startswith((f"{path}:", *([] if flag.whole else [f"{path}[", f"{path}."]))):
            return f"{spelled(flag, flags)}{text[len(path) :]}"
    return text
