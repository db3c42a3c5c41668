"""Write the tables of docs/api.md from the contract and those of docs/configuration.md from the schema: `make docs`.

The prose around the tables is written by hand; what stands between `<!-- made:NAME -->` and `<!-- /made -->` is not.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from whet_agent import upload
from whet_agent.catalogue import Tool, methods, tools
from whet_tui.cli.flags import flags_of, spelled
from whet_tui.cli.root import OWN
from whet_tui.schema import SETTINGS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "api.md"
SETTINGS_PAGE: Final = ROOT / "docs" / "configuration.md"
_REASONS: Final = ROOT / "proto" / "whet" / "v1" / "error_reason.proto"
_PLACE: Final = re.compile(r"(<!-- made:(\w+) -->\n).*?(<!-- /made -->)", re.DOTALL)


def rendered(page: str) -> str:
    """Return the page with every table made anew. Raises `KeyError` for a place that nobody fills."""
    return _PLACE.sub(lambda found: found[1] + "\n".join(_MADE[found[2]]()) + "\n" + found[3], page)


def _calls() -> Iterator[str]:
    by_method = {tool.method.path: tool for tool in tools().values()}
    yield "| RPC | tool | effect | command | what for |"
    yield "|---|---|---|---|---|"
    for method in methods():
        tool = by_method.get(method.path)
        service = method.service.removeprefix("whet.v1.")
        name, effect = (f"`{tool.name}`", tool.effect) if tool is not None else ("none", "")
        stream = " (streams)" if method.server_streaming else ""
        command = "none" if method.is_dialogue else f"`whet {' '.join(method.command)}`"
        yield f"| `{service}.{method.name}`{stream} | {name} | {effect} | {command} | {method.comment} |"


def _commands() -> Iterator[str]:
    yield "| command | what for |"
    yield "|---|---|"
    for name, summary in OWN.items():
        yield f"| `whet {name}` | {summary} |"


def _arguments() -> Iterator[str]:
    for tool in tools().values():
        yield f"### `{tool.name}`"
        yield ""
        yield f"{tool.summary}. Asked for as: {'; '.join(f'*{example}*' for example in tool.examples)}."
        yield ""
        rows = list(_fields(tool))
        if rows:
            yield "| argument | on the command line | type | what for |"
            yield "|---|---|---|---|"
            yield from rows
        else:
            yield "Takes no arguments."
        yield ""


def _fields(tool: Tool) -> Iterator[str]:
    flags = flags_of(tool.method.arguments)
    if tool.method.is_upload:
        yield f"| `{upload.PATH}` | `--{upload.PATH}` | string, required | {upload.ABOUT} |"
    for flag in flags:
        schema = _find(tool.schema, flag.path)
        if schema is None:
            continue  # the caller's own, such as the request id
        required = ", required" if flag.required else ""
        kind = f"{_kind(schema)}{required}"
        about = schema.get("description", "").replace("|", "\\|")
        yield f"| `{'.'.join(flag.path)}` | `{spelled(flag, flags)}` | {kind} | {about} |"


def _find(schema: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any] | None:
    for step in path:
        found = schema["properties"].get(step)
        if found is None:
            return None
        schema = found
    return schema


def _kind(schema: Mapping[str, Any]) -> str:
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    if "enum" in schema:
        return " or ".join(f"`{name}`" for name in schema["enum"])
    if schema["type"] == "object":
        return f"object of {', '.join(f'`{name}`' for name in schema['properties'])}"
    kind: str = schema["type"]
    low, high = schema.get("minimum"), schema.get("maximum")
    match (low, high):
        case (None, None):
            return kind
        case (_, None):
            return f"{kind}, at least {low:,}"
        case _:
            return f"{kind}, {low:,} to {high:,}"


def _reasons() -> Iterator[str]:
    """The meaning of a reason stands in comments, which descriptors do not carry: this reads the proto itself."""
    yield "| reason | when |"
    yield "|---|---|"
    comment: list[str] = []
    for line in _REASONS.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment.append(text.removeprefix("//").strip())
            continue
        if (found := re.match(r"ERROR_REASON_(\w+) = [1-9]", text)) is not None:
            yield f"| `{found[1]}` | {' '.join(comment)} |"
        comment = []


def _settings() -> Iterator[str]:
    yield "| setting | what may stand there | default | what for | read by | applies |"
    yield "|---|---|---|---|---|---|"
    for setting in SETTINGS.values():
        default = f"`{json.dumps(setting.default)}`" if setting.default != "" else ""
        when = "at once" if setting.at_once else "at the next start"
        yield f"| `{setting.key}` | {setting.expected} | {default} | {setting.about} | {setting.reader} | {when} |"


def _keys() -> Iterator[str]:
    from whet_tui.keymap import known, spelled  # loads the screens

    yield "| id | keys | what it does |"
    yield "|---|---|---|"
    for bound in known().values():
        yield f"| `{bound.id}` | {', '.join(map(spelled, bound.keys))} | {bound.about} |"


_MADE: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "calls": _calls,
    "commands": _commands,
    "arguments": _arguments,
    "reasons": _reasons,
    "settings": _settings,
    "keys": _keys,
}


def main() -> None:
    """Write the pages."""
    for path in (PAGE, SETTINGS_PAGE):
        path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)} is fresh\n")


if __name__ == "__main__":
    main()
