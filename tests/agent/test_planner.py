from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from whet_agent.catalogue import request_from, tools
from whet_agent.planner.match import Matcher
from whet_agent.planner.plan import Call, Plan, Situation
from whet_agent.planner.sentences import Reader

ASK_BACK = "ask back"
LAST = "fan_77ab"

KNOWN = Situation(
    last_run=LAST, question="What is a monad?", answer="A monoid.", panel=("local/a", "local/b", "local/c", "sim/d")
)


@cache
def reader() -> Reader:
    return Reader(tools=tools(), matcher=Matcher(tools()))


def tool_of(plan: Plan) -> str:
    return plan.tool if isinstance(plan, Call) else ASK_BACK


def asked(prompt: str, **more: Any) -> Mapping[str, Any]:
    return {"spec": {"prompt": prompt, **more}}


# Sentence, tool, and its arguments where they matter.
UTTERANCES: list[tuple[str, str, Mapping[str, Any] | None]] = [
    # Questions for the panel: most of what people say.
    ("What is a monad?", "fanout", asked("What is a monad?")),
    ("Why is the sky blue", "fanout", None),
    ("who won the world cup in 1998", "fanout", None),
    ("Write a limerick about compilers", "fanout", None),
    ("explain tail recursion", "fanout", asked("explain tail recursion")),
    ("what is the hit rate of Babe Ruth", "fanout", None),
    ("how does a cache work?", "fanout", None),
    ("how much money does a teacher earn", "fanout", None),
    ("what does a trace look like in linear algebra", "fanout", None),
    ("how do I cancel a subscription", "fanout", None),
    ("delete duplicates from a list in Python", "fanout", None),
    ("add two numbers in assembly language", "fanout", None),
    ("set theory for beginners, please", "fanout", None),
    ("cancel culture: good or bad?", "fanout", None),
    ("remove the background from a photo", "fanout", None),
    ("limit of sin(x)/x as x goes to 0", "fanout", None),
    ("stop words in information retrieval", "fanout", None),
    ("what are the tallest buildings in Europe", "fanout", None),
    ("is Rust faster than Go?", "fanout", None),
    ("translate 'good morning' into Finnish", "fanout", None),
    ("which animals sleep standing up", "fanout", None),
    ("clear skin routine for teenagers", "fanout", None),
    ("hello there", "fanout", None),
    ("list the planets of the solar system", "fanout", None),
    ("show me a proof that there are infinitely many primes", "fanout", None),
    # Questions that say whom to ask.
    ("ask three models what a monad is", "fanout", asked("what a monad is", models=["local/a", "local/b", "local/c"])),
    ("ask everyone whether tabs or spaces", "fanout", asked("whether tabs or spaces")),
    ("please ask all models to write a haiku", "fanout", asked("write a haiku")),
    ("compare what the models say about tail recursion", "fanout", asked("tail recursion")),
    (
        "ask sim/fast and local/smollm2 how tides work",
        "fanout",
        asked("how tides work", models=["sim/fast", "local/smollm2"]),
    ),
    ("get several opinions on pineapple pizza", "fanout", asked("pineapple pizza")),
    ("ask the models again", "fanout", asked("What is a monad?")),
    ('fan this out to all models: "is zero even"', "fanout", asked("is zero even")),
    ("write a story about a man with a budget of $5 a day", "fanout", None),
    ("how do I live on no more than $3 a day?", "fanout", None),
    ("ask my boss for a raise, how?", "fanout", asked("ask my boss for a raise, how?")),
    ("what would it cost to ask everyone what a monad is", "plan_fanout", asked("what a monad is")),
    ("estimate the price of asking all models: what is love", "plan_fanout", asked("what is love")),
    ("ask everyone what love is and don't wait", "start_fanout", asked("what love is")),
    ("ask the models why cats purr in the background", "start_fanout", asked("why cats purr")),
    # Reading.
    ("how much have I spent today", "get_usage", None),
    ("how much have I spent by model", "get_usage", {"group": "model"}),
    ("what did today cost", "get_usage", None),
    ("show me my spending", "get_usage", {}),
    ("what are my spending limits", "list_caps", {}),
    ("how much budget is left", "list_caps", {}),
    ("list all models", "list_models", {}),
    ("which models can I use", "list_models", {}),
    ("show the models of openai", "list_models", {"endpoint": "openai"}),
    ("which endpoints are configured?", "list_endpoints", {}),
    ("is any provider down", "list_endpoints", {}),
    ("test the openai endpoint", "test_endpoint", {"name": "openai"}),
    ("can you reach ollama", "test_endpoint", {"name": "ollama"}),
    ("what is the cache hit rate", "get_cache", {}),
    ("how big is the cache?", "get_cache", {}),
    ("list my fan-outs", "list_fanouts", {}),
    ("is anything still running", "list_fanouts", {"state": "running"}),
    ("show the trace of the last run", "get_trace", {"run_id": LAST}),
    ("what exactly happened in fan_03", "get_trace", {"run_id": "fan_03"}),
    ("verify the trace of fan_03", "verify_trace", {"run_id": "fan_03"}),
    ("has this run been tampered with?", "verify_trace", {"run_id": LAST}),
    ("export this run as jsonl", "export_trace", {"run_id": LAST}),
    ("list the traces", "list_traces", {}),
    ("what did we run today", "list_traces", {}),
    ("what is waiting for my approval", "list_approvals", None),
    ("list open approvals", "list_approvals", None),
    ("show the approval apr_01", "get_approval", {"approval_id": "apr_01"}),
    ("what came out of fan_01", "get_fanout", {"run_id": "fan_01"}),
    ("watch run fan_02", "watch_fanout", {"run_id": "fan_02"}),
    ("which calls have an unknown cost", "list_reservations", {"billing": "unknown"}),
    ("what did I pay this week", "get_usage", None),
    ("show me that run", "get_fanout", {"run_id": LAST}),
    # Changing: clear words, and whole arguments.
    ("set a daily cap of five dollars", "put_cap", {"period": "day", "limit": "$5"}),
    ("limit me to $20 per month", "put_cap", {"period": "month", "limit": "$20"}),
    ("please raise the daily budget to $7.50", "put_cap", {"period": "day", "limit": "$7.5"}),
    ("remove the daily cap", "delete_cap", {"cap_id": "day"}),
    ("delete the monthly limit", "delete_cap", {"cap_id": "month"}),
    ("cancel that fan-out", "cancel_fanout", {"run_id": LAST}),
    ("stop the running question", "cancel_fanout", {"run_id": LAST}),
    ("abort fan_09", "cancel_fanout", {"run_id": "fan_09"}),
    ("clear the cache", "clear_cache", {}),
    ("remove the endpoint ollama", "delete_endpoint", {"name": "ollama"}),
    (
        "add an endpoint for ollama at http://localhost:11434/v1",
        "put_endpoint",
        {"name": "ollama", "base_url": "http://localhost:11434/v1"},
    ),
    # Not clear enough, or not whole: ask back.
    ("raise the daily budget", ASK_BACK, None),
    ("set a cap of five dollars", ASK_BACK, None),
    ("delete it", ASK_BACK, None),
    ("add an endpoint for ollama", ASK_BACK, None),
    ("remove the cap", ASK_BACK, None),
    ("what did I pay for groceries this week", ASK_BACK, None),
    ("No more than $3 a day please", ASK_BACK, None),
    ("stay under twenty dollars this month", ASK_BACK, None),
    ("my budget is $5", ASK_BACK, None),
]


def right(plan: Plan, tool: str, arguments: Mapping[str, Any] | None) -> bool:
    if tool_of(plan) != tool:
        return False
    return arguments is None or (isinstance(plan, Call) and dict(plan.arguments) == dict(arguments))


def test_nine_of_ten_utterances_are_understood() -> None:
    wrong = [
        (text, tool, plan)
        for text, tool, arguments in UTTERANCES
        if not right(plan := reader().read(text, KNOWN), tool, arguments)
    ]
    assert len(wrong) <= len(UTTERANCES) * 0.1, "\n".join(map(str, wrong))


@pytest.mark.parametrize(("text", "tool"), [(text, tool) for text, tool, _ in UTTERANCES])
def test_no_wrong_guess_spends_or_changes(text: str, tool: str) -> None:
    guessed = tool_of(reader().read(text, KNOWN))
    if guessed not in {tool, ASK_BACK}:
        assert tools()[guessed].effect == "reads", f"{text!r} became {guessed}"


@pytest.mark.parametrize(("text", "tool"), [(text, tool) for text, tool, _ in UTTERANCES])
def test_every_plan_is_a_request_that_the_contract_takes(text: str, tool: str) -> None:
    plan = reader().read(text, KNOWN)
    if isinstance(plan, Call):
        request_from(tools()[plan.tool].method, plan.arguments, request_id="s/1/1.1")
