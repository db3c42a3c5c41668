"""A sweep's spec as a file that `whet sweep start --spec` takes: by the names of the contract, as YAML."""

from typing import Any, Final

import msgspec

from whet_server.sweep.spec import SweepSpec
from whet_server.sweep.visible import visible
from whet_server.values import NANOS_PER_USD, NANOSECONDS

_MOST_ITEMS: Final = 200
"""Cases that stand in the file; more would bury the rest."""


def spec_text(spec: SweepSpec) -> str:
    """Return the spec; of cases that were given with it, no more than a reader bears, and a comment that says so."""
    plain = spec_fields(spec)
    left = len(spec.items) - _MOST_ITEMS
    if left > 0:
        plain["items"] = plain["items"][:_MOST_ITEMS]
    more = f"# {left} of {len(spec.items)} cases are left out here.\n" if left > 0 else ""
    return more + yaml_text(plain)


def yaml_text(plain: dict[str, Any]) -> str:
    """Return data as YAML, texts of several lines as blocks; what would hide or turn the reading order is escaped."""
    import yaml  # only who exports or reports pays for it

    class Dumper(yaml.SafeDumper):
        """Its own class: representers belong to one."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    written: str = yaml.dump(plain, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    if visible(written) != written:
        written = yaml.dump(plain, Dumper=Dumper, sort_keys=False, allow_unicode=False, width=120)
    return written


def spec_fields(spec: SweepSpec) -> dict[str, Any]:
    """Return the spec by the names that its fields have on the wire."""
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    _money(plain.get("budget"), "money")
    _money(plain.get("chain"), "money")
    _seconds(plain.get("budget"))
    _cache(plain)
    if (fanout := plain.get("fanout")) is not None:
        _money(fanout, "cap")
        _cache(fanout)
        finish = {name: fanout.pop(name) for name in ("enough", "deadline") if name in fanout}
        fanout |= {"finish": finish} if finish else {}
    for item in plain.get("items", ()):
        _money(item, "cost")
        item.pop("latency_ns", None)
    for criterion in plain.get("criteria", ()):
        _scorer(criterion)
    return {name: part for name, part in plain.items() if part != {}}


def _money(part: dict[str, Any] | None, name: str) -> None:
    if part and name in part:
        nanos = part[name]
        part[name] = f"${nanos // NANOS_PER_USD}.{nanos % NANOS_PER_USD:09d}".rstrip("0").removesuffix(".")


def _scorer(criterion: dict[str, Any]) -> None:
    """A scorer stands on the wire under its kind."""
    if (scorer := criterion.get("scorer")) is not None:
        kind = scorer.pop("kind")
        if kind == "cost":
            _money(scorer, "target")
        if "target_ns" in scorer:
            scorer["target"] = scorer.pop("target_ns") / NANOSECONDS
        criterion["scorer"] = {kind: scorer}


def _seconds(part: dict[str, Any] | None) -> None:
    if part and "time_ns" in part:
        part["time"] = part.pop("time_ns") / NANOSECONDS


def _cache(part: dict[str, Any]) -> None:
    """The use of the cache is one message on the wire."""
    names = {"cache_bypass": "bypass", "cache_ttl": "ttl"}
    cache = {wire: part.pop(name) for name, wire in names.items() if name in part}
    part |= {"cache": cache} if cache else {}
