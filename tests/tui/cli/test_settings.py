from dataclasses import fields
from pathlib import Path

import pytest

from whet_tui.schema import ChatTable
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
    assert (found.data, found.config, found.chat.theme, found.server) == (tmp_path, config, "light", "")


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


def test_a_typo_is_reported_with_what_may_have_been_meant_and_stops_nothing(tmp_path: Path) -> None:
    found = settings(tmp_path, "[mind]\nmodle = 'x'\n[chat]\ntheem = 'light'\nxyzzy = 1\n[endpoints.x]\nurl = 'y'\n")
    config = tmp_path / "config.toml"
    assert found.complaints[:3] == (
        f"{config}: there is no 'endpoints'. Did you mean endpoint?",
        f"{config}: [chat] knows no key 'theem'. Did you mean theme?",
        f"{config}: [chat] knows no key 'xyzzy'. It knows: {', '.join(each.name for each in fields(ChatTable))}.",
    )
    assert found.complaints[3:] == (f"{config}: [mind] knows no key 'modle'. Did you mean model?",)


def test_the_tables_of_the_server_are_the_servers(tmp_path: Path) -> None:
    text = "panel = ['a/b']\nsynthesiser = 'a/b'\n[server]\nx = 1\n[telemetry]\ny = 1\n[[endpoint]]\nz = 1\n"
    assert settings(tmp_path, text).complaints == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("theme = 3", 'chat.theme must be text in quotes, not 3. "dark" is taken.'),
        ("plain = 'yes'", 'chat.plain must be true or false, not "yes". false is taken.'),
        ("paste_lines = true", "chat.paste_lines must be a whole number of at least 1, not true. 15 is taken."),
        ("history = 0", "chat.history must be true or false, not 0. true is taken."),
        ("paste_lines = 0", "chat.paste_lines must be a whole number of at least 1, not 0. 15 is taken."),
        ("allowance = -0.5", "chat.allowance must be a number of at least 0, not -0.5. 1.0 is taken."),
        (
            "approval_mode = 'all'",
            """chat.approval_mode must be one of "ask", "allowance", "read_only", not "all". "ask" is taken.""",
        ),
    ],
)
def test_a_wrong_value_names_file_key_what_fits_and_what_was_found(tmp_path: Path, line: str, expected: str) -> None:
    found = settings(tmp_path, f"[chat]\n{line}\n")
    assert found.complaints == (f"{tmp_path / 'config.toml'}: {expected}",)
    assert found.chat == ChatTable()


@pytest.mark.parametrize("line", ["base_url = 3", "api_key_env = ['A']", "context_tokens = -1"])
def test_whom_to_ask_is_not_guessed(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.toml: mind\.\w+ must be .*, not "):
        settings(tmp_path, f"[mind]\n{line}\n")


@pytest.mark.parametrize("text", ["mind = 3", "chat = 'x'", "keys = 1", "x", "[mind"])
def test_what_is_no_configuration_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.toml"):
        settings(tmp_path, text)


def test_each_setting_says_where_it_came_from(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        "[chat]\nplain = false\neditor = 'nano'\ntheme = 'light'\n",
        ACCESSIBLE="1",
        EDITOR="vi",
        OPENAI_MODEL="m",
        TEXTUAL_ANIMATIONS="none",
    ).found
    assert settings(tmp_path, EDITOR="b", VISUAL="a").chat.editor == "a"
    assert {key: (each.value, each.origin) for key, each in found.items() if each.origin != "default"} == {
        "chat.plain": (True, "environment: ACCESSIBLE"),
        "chat.reduced_motion": (True, "environment: TEXTUAL_ANIMATIONS"),
        "chat.editor": ("nano", "config.toml"),
        "chat.theme": ("light", "config.toml"),
        "mind.model": ("openai/m", "environment: OPENAI_MODEL"),
    }


@pytest.mark.parametrize(
    ("environment", "plain"), [({"TERM": "dumb"}, True), ({"ACCESSIBLE": "1"}, True), ({"ACCESSIBLE": "0"}, False)]
)
def test_a_terminal_that_cannot_draw_gets_plain_lines(
    tmp_path: Path, environment: dict[str, str], *, plain: bool
) -> None:
    assert settings(tmp_path, **environment).chat.plain is plain


def test_keys_are_given_with_and_without_quotes_around_their_id(tmp_path: Path) -> None:
    found = settings(tmp_path, "[keys]\n'chat.help' = 'f2'\nchat.sessions = 'f3,ctrl+r'\nchat.unfold = 3\n")
    assert found.keys == {"chat.help": "f2", "chat.sessions": "f3,ctrl+r"}
    assert found.complaints == (
        f"""{tmp_path / "config.toml"}: keys.chat.unfold must be keys in quotes, such as "ctrl+s", not 3.""",
    )


def test_the_mind_is_told_its_window(tmp_path: Path) -> None:
    mind = settings(tmp_path, "[mind]\ncontext_tokens = 32000\n", OPENAI_API_KEY="k").mind
    assert mind is not None
    assert mind.context_tokens == 32_000


async def test_the_window_reaches_the_session(tmp_path: Path) -> None:
    from whet_agent.connect import Connection
    from whet_tui.opening import mind_for

    nowhere = Connection(address="unix:/nowhere", person_token="p", agent_token="a", embedded=False)
    text = "[mind]\nbase_url = 'http://127.0.0.1:1/v1'\nmodel = 'a/b'\n"
    for line, window in (("context_tokens = 32000", 32_000), ("", 128_000)):
        mind = await mind_for(settings(tmp_path, text + line).mind, nowhere)
        assert mind is not None
        assert mind.context_tokens == window


def test_a_person_rates_under_the_name_that_is_set_else_the_login_else_as_me(tmp_path: Path) -> None:
    assert settings(tmp_path, "[chat]\nrater = 'Anna B.'\n", USER="anna").rater == "Anna B."
    assert settings(tmp_path, "[chat]\nrater = ' '\n", USER="anna").rater == "anna"
    assert settings(tmp_path).rater == "me"
