from pathlib import Path
from typing import Any

import pytest

from whet_eval.provider import ProviderStub
from whet_server.app import opened_rooms
from whet_server.config import LOCAL_MODEL, ServerConfig, config_from, with_environment
from whet_server.datadir import DEFAULT_WORKSPACE
from whet_server.fanout.spec import BranchSpec, FanoutSpec
from whet_server.llm.keys import Sealer
from whet_server.store.memory import MemoryStore
from whet_server.values import Message, ModelName, Principal, Role, Speaker, Totals


async def panel(tmp_path: Path, config: ServerConfig) -> tuple[list[str], str | None]:
    """Return whom a server asks that is configured so, and who drafts."""
    async with opened_rooms(MemoryStore(), config, Sealer.from_file(tmp_path / "key")) as rooms:
        defaults = rooms.fanouts._defaults
        assert rooms.panel == {branch.model for branch in defaults.panel}
        return [branch.model for branch in defaults.panel], defaults.synthesiser


async def test_without_a_key_the_local_model_is_asked_three_times(tmp_path: Path) -> None:
    assert await panel(tmp_path, ServerConfig()) == ([LOCAL_MODEL] * 3, None)


async def test_with_a_key_the_panel_is_made_of_what_the_endpoint_lists(tmp_path: Path) -> None:
    async with ProviderStub() as provider:
        provider.model_names[:] = ["whisper", "gpt-4o", "gpt-4o-mini", "gpt-4.1-mini"]
        environment = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": provider.url}
        models, _ = await panel(tmp_path, with_environment(ServerConfig(), environment))
    assert models == ["openai/gpt-4.1-mini", "openai/gpt-4o-mini"]


async def test_a_model_that_the_environment_names_is_asked_in_three_voices_without_a_question_first(
    tmp_path: Path,
) -> None:
    async with ProviderStub() as provider:
        environment = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "plain"}
        models, _ = await panel(tmp_path, with_environment(ServerConfig(), environment))
        assert provider.requests == 0
    assert models == ["openai/plain"] * 3


async def test_an_endpoint_that_does_not_answer_leaves_the_panel_to_the_local_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ProviderStub() as provider:
        environment = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": provider.refused_url}
        models, _ = await panel(tmp_path, with_environment(ServerConfig(), environment))
    assert models == [LOCAL_MODEL] * 3
    assert "does not name its models" in caplog.text
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"panel": ["sim/fast", "sim/slow"]}, (["sim/fast", "sim/slow"], None)),
        ({"panel": ["sim/fast"], "synthesiser": "sim/steady"}, (["sim/fast"], "sim/steady")),
        ({"synthesiser": "sim/steady"}, ([LOCAL_MODEL] * 3, "sim/steady")),
    ],
)
async def test_what_the_file_says_stands_above_all(
    tmp_path: Path, content: dict[str, Any], expected: tuple[list[str], str | None]
) -> None:
    config = with_environment(config_from(content, "whet.toml", {}), {})
    assert await panel(tmp_path, config) == expected


async def test_a_built_in_endpoint_may_be_limited_by_the_file(tmp_path: Path) -> None:
    content = {"endpoint": [{"name": "sim", "kind": "sim", "limits": {"max_concurrency": 2}}]}
    config = config_from(content, "whet.toml", {})
    async with opened_rooms(MemoryStore(), config, Sealer.from_file(tmp_path / "key")) as rooms:
        listed = {status.settings.name: status.settings for status in await rooms.endpoints.list("default")}  # type: ignore[arg-type]
    assert set(listed) == {"local", "sim"}
    assert listed["sim"].limits.max_concurrency == 2


async def test_the_ledger_keeps_no_balance_of_a_run_that_has_ended(tmp_path: Path) -> None:
    message = Message(role=Speaker.USER, content="What is a monad?")
    branch = BranchSpec(model=ModelName("sim/costly?first_ms=0&rate=10000"))
    async with opened_rooms(MemoryStore(), ServerConfig(), Sealer.from_file(tmp_path / "key")) as rooms:
        who = Principal(workspace=DEFAULT_WORKSPACE, role=Role.PERSON)
        run = await rooms.fanouts.start(who, FanoutSpec(messages=(message,), branches=(branch,)), request_id="r1")
        await rooms.fanouts.drain(10.0)
        view = await rooms.fanouts.get(DEFAULT_WORKSPACE, run.run_id)
        assert view.run.totals.settled > 0
        assert rooms.ledger.run_totals(run.run_id) == Totals()
