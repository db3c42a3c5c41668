from collections.abc import Mapping
from typing import Any

import pytest

from whet_agent.catalogue import request_from, tools
from whet_agent.planner.commands import SHORT, help_text, parse, usage_of
from whet_agent.planner.plan import Call, Say, Situation

KNOWN = Situation(last_run="fan_77ab", question="What is a monad?", answer="A monoid.")


def test_every_tool_has_a_command_and_stands_in_the_help() -> None:
    text = help_text(tools())
    for name, tool in tools().items():
        short = next((short for short, full in SHORT.items() if full == name), name)
        assert f"`/{short}" in text
        assert usage_of(tool) in help_text(tools(), name)
        assert "There is no command" not in getattr(parse(f"/{name.replace('_', '-')}", tools(), KNOWN), "text", "")


def test_every_short_name_means_a_tool() -> None:
    assert set(SHORT.values()) <= set(tools())
    assert not set(SHORT) & set(tools())


COMMANDS: list[tuple[str, str, Mapping[str, Any]]] = [
    ("/models", "list_models", {}),
    (
        '/fanout {"spec": {"prompt": "--x", "branches": [{"model": "sim/fast", "label": "a,b"}]}}',
        "fanout",
        {"spec": {"prompt": "--x", "branches": [{"model": "sim/fast", "label": "a,b"}]}},
    ),
    ('/put_cap {"period": "day", "limit": "$5"}', "put_cap", {"period": "day", "limit": "$5"}),
    ('/fanout {"a": 1}', "fanout", {"spec": {"prompt": '{"a": 1}'}}),
    ("/models openai", "list_models", {"endpoint": "openai"}),
    ("/usage", "get_usage", {}),
    ("/usage model", "get_usage", {"group": "model"}),
    ("/usage --group run", "get_usage", {"group": "run"}),
    ("/cap day 5", "put_cap", {"period": "day", "limit": "5"}),
    ("/cap month $20.50", "put_cap", {"period": "month", "limit": "$20.50"}),
    ("/cap limit=5 period=day", "put_cap", {"period": "day", "limit": "5"}),
    ("/uncap day", "delete_cap", {"cap_id": "day"}),
    ("/trace fan_01", "get_trace", {"run_id": "fan_01"}),
    ("/trace", "get_trace", {"run_id": "fan_77ab"}),
    ("/trace last --max-events 3", "get_trace", {"run_id": "fan_77ab", "max_events": 3}),
    ("/verify last", "verify_trace", {"run_id": "fan_77ab"}),
    ("/verify last run", "verify_trace", {"run_id": "fan_77ab"}),
    ("/Verify the last fan-out", "verify_trace", {"run_id": "fan_77ab"}),
    ("/ask who was the last one?", "fanout", {"spec": {"prompt": "who was the last one?"}}),
    ("/runs running", "list_fanouts", {"state": "running"}),
    ("/runs --size 5", "list_fanouts", {"page": {"size": 5}}),
    ("/approvals pending", "list_approvals", {"state": "pending"}),
    ("/cancel fan_01 --branch b1,b2", "cancel_fanout", {"run_id": "fan_01", "branch_ids": ["b1", "b2"]}),
    ("/fanout what is 'this' about?", "fanout", {"spec": {"prompt": "what is 'this' about?"}}),
    ('/ask "quoted words"', "fanout", {"spec": {"prompt": "quoted words"}}),
    ("/ask don't panic", "fanout", {"spec": {"prompt": "don't panic"}}),
    ("/ask", "fanout", {"spec": {"prompt": "What is a monad?"}}),
    ("/ask a=b is an equation", "fanout", {"spec": {"prompt": "a=b is an equation"}}),
    (
        "/fanout --model sim/fast --model local/smollm2 --mode vote --cap $1 what is 2+2",
        "fanout",
        {
            "spec": {
                "models": ["sim/fast", "local/smollm2"],
                "synthesis": {"mode": "vote"},
                "cap": "$1",
                "prompt": "what is 2+2",
            }
        },
    ),
    (
        "/fanout why is grass green --model sim/fast --model sim/terse",
        "fanout",
        {"spec": {"models": ["sim/fast", "sim/terse"], "prompt": "why is grass green"}},
    ),
    (
        "/ask --model sim/fast why does  ls take --color and mode=x --mode=vote",
        "fanout",
        {
            "spec": {
                "models": ["sim/fast"],
                "synthesis": {"mode": "vote"},
                "prompt": "why does  ls take --color and mode=x",
            }
        },
    ),
    (
        "/ask --model sim/fast -- what does --model mean",
        "fanout",
        {"spec": {"models": ["sim/fast"], "prompt": "what does --model mean"}},
    ),
    ("/ask what does '--model x' mean", "fanout", {"spec": {"prompt": "what does '--model x' mean"}}),
    ('/ask "what does --model x mean"', "fanout", {"spec": {"prompt": "what does --model x mean"}}),
    ("/plan two\nlines", "plan_fanout", {"spec": {"prompt": "two\nlines"}}),
    (
        "/endpoint mine --base-url http://127.0.0.1:1/v1",
        "put_endpoint",
        {"name": "mine", "base_url": "http://127.0.0.1:1/v1"},
    ),
]


@pytest.mark.parametrize(("text", "tool", "arguments"), COMMANDS)
def test_commands_are_read(text: str, tool: str, arguments: Mapping[str, Any]) -> None:
    plan = parse(text, tools(), KNOWN)
    assert isinstance(plan, Call), plan
    assert plan.tool == tool
    assert plan.arguments == arguments
    request_from(tools()[tool].method, plan.arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/nonsense", "There is no command `/nonsense`"),
        ("/cap day", "limit is missing"),
        ("/cap week 5", "`week` fits nothing"),
        ("/runs --colour red", "`--colour` is no option"),
        ("/trace last --max-events many", "max_events must be a number"),
        ("/help", "Ask anything"),
        ("/help cap", "/cap PERIOD LIMIT"),
    ],
)
def test_what_cannot_be_read_is_answered(text: str, words: str) -> None:
    plan = parse(text, tools(), KNOWN)
    assert isinstance(plan, Say), plan
    assert words in plan.text


@pytest.mark.parametrize("text", ["/verify last", "/trace", "/ask"])
def test_a_command_without_anything_to_point_at_asks_back(text: str) -> None:
    assert isinstance(parse(text, tools(), Situation()), Say)
