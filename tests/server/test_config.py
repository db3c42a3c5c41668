import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from whet_server.config import (
    LOCAL_MODEL,
    PERSONAS,
    ConfigError,
    ServerConfig,
    config_from,
    local_panel,
    panel_of,
    preferred,
    read_config,
    with_environment,
)
from whet_server.values import ModelName, Nanos

ROOT = Path(__file__).parents[2]


def complaint(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        config_from(content, "whet.toml", {})
    return str(caught.value)


def test_nothing_configured_is_a_configuration() -> None:
    assert config_from({}, "whet.toml", {}) == ServerConfig()


def test_the_example_in_the_docs_is_read_whole(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    path = tmp_path / "config.toml"
    path.write_text(example.group(1), encoding="utf-8")
    config = read_config(path, {"OPENROUTER_KEY": "sk-secret"})
    ollama, openrouter = config.endpoints
    assert ollama.settings.call_limits.first_token == 120
    assert openrouter.key is not None
    assert openrouter.key.reveal("https://openrouter.ai:443") == "sk-secret"
    assert openrouter.settings.limits.max_concurrency == 64
    model = openrouter.settings.models[0]
    assert model.price is not None
    assert (model.price.input, model.price.output) == (150_000_000, 600_000_000)
    assert config.panel[0].model == "ollama/llama3.2"
    assert config.panel[2].samples == 2
    assert config.synthesiser == config.judge == "openrouter/openai/gpt-4o-mini"
    assert config.approval_threshold == Nanos(250_000_000)
    assert "sk-secret" not in repr(config)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"sever": {}}, "whet.toml: sever: there is no such key; did you mean server?"),
        ({"server": {"adress": "x"}}, "whet.toml: server.adress: there is no such key; did you mean address?"),
        ({"server": {"zzz": 1}}, "known keys are address,"),
        ({"server": {"address": 5}}, "server.address: give a text in quotes"),
        ({"server": {"approval_threshold": -1}}, "server.approval_threshold: give an amount of at least 0"),
        ({"server": {"cache_ttl": True}}, "server.cache_ttl: give a number of seconds"),
        ({"server": {"address": "a", "socket": "b"}}, "server.socket: give either address or socket"),
        ({"endpoint": [{"name": "Ollama"}]}, "endpoint[0].name: give lower case"),
        ({"endpoint": [{"name": "x"}]}, "endpoint[0].base_url: give the URL"),
        ({"endpoint": [{"name": "x", "kind": "magic"}]}, "endpoint[0].kind: give one of openai"),
        ({"endpoint": {"name": "x"}}, "endpoint: give a list of tables"),
        ({"endpoint": [{"name": "local", "base_url": "http://a/v1"}]}, "endpoint[0].name: 'local' is built in"),
        ({"endpoint": [{"name": "x", "base_url": "http://a", "api_key_env": "NOPE"}]}, "the environment has no NOPE"),
        ({"endpoint": [{"name": "x", "base_url": "http://a"}] * 2}, "endpoint[1].name: 'x' is there twice"),
        (
            {"endpoint": [{"name": "x", "base_url": "http://a", "model": [{"name": "m", "price": {"input": 1}}]}]},
            "endpoint[0].model[0].price: give both input and output",
        ),
        ({"panel": [5]}, "panel: give names in quotes, or tables"),
        ({"panel": [{"model": "gpt"}]}, "panel[0].model: give the model as endpoint/model"),
        ({"panel": ["gpt"]}, "panel: give models as endpoint/model"),
        ({"panel": [{"model": "a/b", "temperature": Decimal(3)}]}, "panel[0].temperature: give a number from 0 to 2"),
        ({"panel": [{"model": "a/b", "failover": [{}]}]}, "panel[0].failover: give models"),
        ({"synthesiser": "gpt"}, "synthesiser: give the model as endpoint/model"),
    ],
)
def test_a_mistake_is_named_with_file_table_and_key(content: dict[str, Any], words: str) -> None:
    assert words in complaint(content)


def test_tables_of_the_terminal_are_not_the_servers_business() -> None:
    assert config_from({"mind": {"model": "x"}, "chat": {"theme": "dark"}}, "whet.toml", {}) == ServerConfig()


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_key_lies_in_no_file_that_others_can_read(
    tmp_path: Path,
    mode: int,
    refused: bool,  # noqa: FBT001 -- a parameter of the table above
) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[[endpoint]]\nname = "mine"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "sk-1"\n')
    path.chmod(mode)
    if refused:
        with pytest.raises(ConfigError, match=r"config\.toml: it holds an api_key and others can read it\. Say chmod"):
            read_config(path, {})
    else:
        assert len(read_config(path, {}).endpoints) == 1


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("server = [")
    with pytest.raises(ConfigError, match="this is not TOML"):
        read_config(path, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml", {})


def test_without_a_key_the_panel_is_three_different_voices_of_the_local_model() -> None:
    panel = local_panel()
    assert {branch.model for branch in panel} == {LOCAL_MODEL}
    assert len({branch.persona for branch in panel}) == len(PERSONAS) == 3
    assert len({branch.parameters.seed for branch in panel}) == 3


def test_a_panel_of_one_model_speaks_in_three_voices_too() -> None:
    assert len({branch.persona for branch in panel_of([ModelName("openai/x")])}) == 3
    assert len(panel_of([ModelName("openai/x"), ModelName("openai/y")])) == 2


def test_well_known_small_models_are_preferred_to_the_first_ones() -> None:
    listed = ["whisper-1", "gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "tts-1"]
    assert preferred(listed) == ("openai/gpt-4.1-mini", "openai/gpt-4o-mini")
    assert preferred(["a", "b", "c", "d"]) == ("openai/a", "openai/b", "openai/c")
    assert preferred(["llama3.2:latest"]) == ("openai/llama3.2:latest",)
    assert preferred([]) == ()


def test_the_environments_key_goes_to_its_own_origin_only() -> None:
    environment = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1/", "OPENAI_MODEL": "m"}
    config = with_environment(ServerConfig(), environment)
    (endpoint,) = config.endpoints
    assert config.has_environment_endpoint
    assert config.environment_model == "m"
    assert endpoint.settings.base_url == "http://127.0.0.1:9/v1"
    assert endpoint.settings.source == "environment"
    assert endpoint.key is not None
    assert endpoint.key.origin == "http://127.0.0.1:9"
    assert "sk-secret" not in repr(config)


def test_an_endpoint_of_the_file_stands_above_that_of_the_environment() -> None:
    config = config_from({"endpoint": [{"name": "openai", "base_url": "https://mine/v1"}]}, "whet.toml", {})
    assert with_environment(config, {"OPENAI_API_KEY": "sk"}).endpoints == config.endpoints


def test_a_url_without_a_key_adds_nothing() -> None:
    assert with_environment(ServerConfig(), {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}) == ServerConfig()
