"""Short forms of messages on the command line, beside JSON: `--dimension 'classify.temperature=0..1'`.

A form returns the fields of its message, or None for a text that is not of its form.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import click

from whet_agent.json_object import JsonObject

Form: TypeAlias = Callable[[str], JsonObject | None]

_RANGE: Final = re.compile(r"(?P<int>int\s+)?(?P<low>[-+.\deE]+?)\.\.(?P<high>[-+.\deE]+)(?P<more>(\s+\S+)*)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_CONDITION: Final = re.compile(r"\s+if\s+(?P<dimension>[A-Za-z_][A-Za-z0-9_.-]*)=(?P<labels>.+)$")
_COMMA: Final = re.compile(r"(?<!\\),")
"""Between choices; one that is part of a label stands behind a backslash."""
_PANEL: Final = "panel"
_FILE: Final = "@"


def dimension(text: str) -> JsonObject | None:
    """Read `NAME=LOW..HIGH [log] [step STEP]`, `NAME=int LOW..HIGH ...` or `NAME=LABEL,LABEL,...`, each with `if
    OTHER=LABEL,...` after it. A choice written `LABEL=@PATH` stands for the text of a file, in a panel
    `LABEL=MODEL+MODEL` for models.
    """
    name, equals, values = text.partition("=")
    name = name.strip()
    if not equals or _NAME.fullmatch(name) is None:
        return None
    fields: JsonObject = {"name": name}
    if condition := _CONDITION.search(values):
        labels = [label.strip() for label in condition["labels"].split(",")]
        fields["only_if"] = {"dimension": condition["dimension"], "labels": labels}
        values = values[: condition.start()]
    if (found := _RANGE.fullmatch(values.strip())) is not None:
        kind = _range(found)
    elif ".." in values and "," not in values:
        return None  # one choice is none: a range was meant
    else:
        choices = [each.replace("\\,", ",").strip() for each in _COMMA.split(values)]
        kind = {"choices": {"choices": [_choice(name, each) for each in choices if each]}}
    return None if kind is None else fields | kind


def _range(found: "re.Match[str]") -> JsonObject | None:
    number: Callable[[str], float | int] = int if found["int"] else float
    try:
        fields: JsonObject = {"low": number(found["low"]), "high": number(found["high"])}
        words = found["more"].split()
        while words:
            word = words.pop(0)
            if word == "log":
                fields["log"] = True
            elif word == "step" and words:
                fields["step"] = number(words.pop(0))
            else:
                return None
    except ValueError:
        return None
    return {"int_range" if found["int"] else "float_range": fields}


def _choice(dimension_name: str, text: str) -> JsonObject:
    label, _, stands_for = text.partition("=")
    if stands_for.startswith(_FILE):
        return {"label": label, "text": _file(stands_for.removeprefix(_FILE))}
    if dimension_name == _PANEL and stands_for:
        return {"label": label, "models": [model.strip() for model in stands_for.split("+")]}
    return {"label": text, "models": text.split("+")} if dimension_name == _PANEL else {"label": text}


def parameter(text: str) -> JsonObject | None:
    """Read `NAME=VALUE`: a whole number, a number, or a label."""
    name, equals, value = text.partition("=")
    if not equals or _NAME.fullmatch(name.strip()) is None:
        return None
    name, value = name.strip(), value.strip()
    for field, read in (("integer", int), ("number", float)):
        try:
            return {"name": name, field: read(value)}
        except ValueError:
            continue
    return {"name": name, "text": value}


def objective(text: str) -> JsonObject | None:
    """Read `quality`, `cost margin=0.1` or `quality criterion=tone`."""
    kind, *words = text.split()
    fields: JsonObject = {"kind": kind}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in {"margin", "criterion"}:
            return None
        try:
            fields[name] = float(value) if name == "margin" else value
        except ValueError:
            return None
    return fields


def stage(text: str) -> JsonObject | None:
    """Read `NAME=TEMPLATE` or `NAME=@PATH`."""
    name, equals, template = text.partition("=")
    if not equals or _NAME.fullmatch(name.strip()) is None:
        return None
    template = _file(template.removeprefix(_FILE)) if template.startswith(_FILE) else template
    return {"name": name.strip(), "template": template}


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise click.UsageError(f"{path} cannot be read: {why}.") from error


FORMS: Final[Mapping[str, tuple[Form, str]]] = {
    "whet.v1.SearchDimension": (dimension, "NAME=0..1, NAME=1e-4..1 log, NAME=int 0..8, NAME=a,b if OTHER=c"),
    "whet.v1.ParameterValue": (parameter, "NAME=VALUE"),
    "whet.v1.Objective": (objective, "quality, cost margin=0.1"),
    "whet.v1.Stage": (stage, "NAME=TEMPLATE, NAME=@PATH"),
}
"""By the message's full name: how it is read, and what its help says."""


def settle(arguments: JsonObject) -> None:
    """Give numbers of a baseline the kind that their dimensions have, where the same call says it: `0` is a float of a
    range of floats, and a label of choices.
    """
    kinds = {each.get("name"): each for each in arguments.get("space", ()) if isinstance(each, dict)}
    for value in arguments.get("baseline", ()):
        if not isinstance(value, dict) or not value.keys() & {"integer", "number"}:
            continue
        of = kinds.get(value.get("name"), {})
        if "float_range" in of and "integer" in value:
            value["number"] = float(value.pop("integer"))
        elif "choices" in of:
            value["text"] = str(value.pop("integer" if "integer" in value else "number"))
