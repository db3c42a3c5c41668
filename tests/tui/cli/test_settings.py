from pathlib import Path

import pytest

from whet_tui.settings import OPENAI_URL, Flags, Settings, SettingsError, load


def settings(tmp_path: Path, text: str = "", **environment: str) -> Settings:
    config = tmp_path / "config.toml"
    config.write_text(text)
    return load(Flags(data=tmp_path / "data", config=config), environment)


def test_flags_stand_above_the_environment(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(" flag \n")
    found = load(
        Flags(server="a:1", data=tmp_path, token_file=tmp_path / "t"),
        {"WHET_SERVER": "b:2", "WHET_DATA": "/elsewhere", "WHET_TOKEN_FILE": "/nowhere"},
    )
    assert (found.server, found.data, found.token) == ("a:1", tmp_path, "flag")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"two words", b"one\ntwo"])
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(SettingsError, match=r"t holds no token\. Give the file that does: --token-file PATH"):
        load(Flags(server="a:1", data=tmp_path, token_file=tmp_path / "t"), {})


def test_the_environment_says_where(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[chat]\ntheme = 'light'\n")
    found = load(Flags(), {"WHET_DATA": str(tmp_path), "WHET_CONFIG": str(config)})
    assert (found.data, found.config, found.theme, found.server) == (tmp_path, config, "light", "")


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"c\.toml: there is no such file"):
        load(Flags(data=tmp_path, config=tmp_path / "c.toml"), {})


def test_without_a_key_the_offline_planner_thinks(tmp_path: Path) -> None:
    assert settings(tmp_path).mind is None
    assert settings(tmp_path, OPENAI_BASE_URL="http://x/v1", OPENAI_MODEL="m").mind is None


def test_a_key_makes_a_mind(tmp_path: Path) -> None:
    mind = settings(tmp_path, OPENAI_API_KEY="k").mind
    assert mind is not None
    assert (mind.base_url, mind.api_key, mind.model) == (OPENAI_URL, "k", "")
    mind = settings(tmp_path, OPENAI_API_KEY="k", OPENAI_BASE_URL="http://x/v1", OPENAI_MODEL="m").mind
    assert mind is not None
    assert (mind.base_url, mind.model) == ("http://x/v1", "openai/m")


def test_the_table_of_the_mind_stands_above_the_environment(tmp_path: Path) -> None:
    text = "[mind]\nbase_url = 'http://y/v1'\napi_key_env = 'OTHER'\nmodel = 'router/a/b'\n"
    mind = settings(tmp_path, text, OPENAI_API_KEY="k", OTHER="o", OPENAI_MODEL="m").mind
    assert mind is not None
    assert (mind.base_url, mind.api_key, mind.model) == ("http://y/v1", "o", "router/a/b")


def test_a_mind_on_this_machine_needs_no_key(tmp_path: Path) -> None:
    mind = settings(tmp_path, "[mind]\nbase_url = 'http://127.0.0.1:11434/v1'\nmodel = 'ollama/qwen3'\n").mind
    assert mind is not None
    assert not mind.api_key


def test_keys_and_tokens_are_in_no_repr(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("s3cret")
    found = load(Flags(server="a:1", data=tmp_path, token_file=tmp_path / "t"), {"OPENAI_API_KEY": "s3cret"})
    assert found.token == "s3cret"
    assert "s3cret" not in repr(found)


def test_unknown_keys_are_reported_and_other_tables_are_not_ours(tmp_path: Path) -> None:
    found = settings(tmp_path, "[mind]\nmodle = 'x'\n[endpoints.x]\nurl = 'y'\n")
    assert len(found.complaints) == 1
    assert "[mind] knows no key 'modle'" in found.complaints[0]


@pytest.mark.parametrize("text", ["mind = 3", "chat = 'x'", "[chat]\ntheme = 3", "x", "[mind"])
def test_what_is_no_configuration_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.toml"):
        settings(tmp_path, text)
