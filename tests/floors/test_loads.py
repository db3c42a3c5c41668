import subprocess
import sys

import pytest


def loaded_after(program: str) -> set[str]:
    """Run a program in a process of its own and return the modules it has loaded, with every dotted prefix."""
    listing = f"{program}\nimport sys\nprint(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", listing], capture_output=True, text=True, timeout=60, check=True
    )
    return set(answer.stdout.splitlines()[-1].split())


def test_the_server_never_loads_a_screen_an_agent_or_their_libraries() -> None:
    loaded = loaded_after("import whet_server.__main__, whet_server.app, whet_server.config, whet_server.rpc.server")
    assert not loaded & {"textual", "langgraph", "langchain_core", "openai", "whet_agent", "whet_tui", "whet_eval"}


def test_a_server_at_rest_has_not_loaded_what_it_does_not_need_yet() -> None:
    loaded = loaded_after("import whet_server.app")
    scores = {"re2", "jsonschema", "markdown_it", "rapidfuzz", "sacrebleu", "tokenizers", "arro3"}
    heavy = scores | {
        "numpy",
        "genai_prices",
        "xllamacpp",
        "wordllama",
        "opentelemetry.sdk",
        "google.protobuf.json_format",
    }
    assert not loaded & heavy


def test_the_agent_never_loads_a_database_of_the_server_or_a_screen() -> None:
    loaded = loaded_after("import whet_agent.session, whet_agent.client, whet_agent.catalogue, whet_agent.connect")
    assert not loaded & {"sqlalchemy", "alembic", "textual", "mcp", "whet_server", "whet_tui"}


def test_the_adapter_for_other_agents_loads_no_mind_and_no_screen() -> None:
    loaded = loaded_after("import whet_agent.mcp.serving, whet_agent.mcp.stdio, whet_agent.mcp.http")
    assert "mcp" in loaded
    assert not loaded & {"langgraph", "openai", "sqlalchemy", "textual", "whet_server", "whet_tui"}


def test_a_mind_loads_one_http_client_and_no_second_one() -> None:
    loaded = loaded_after(
        "from whet_agent.assembly import Money, chat_mind\n"
        "from whet_agent.session import MindSettings\n"
        "money = Money(agent=None, session_id='', record=None, purse=None, account=None)\n"
        "chat_mind(MindSettings(base_url='http://127.0.0.1:1/v1', api_key='', model='stub/plain'), money)"
    )
    assert "openai" in loaded
    assert "aiohttp" not in loaded


def test_help_on_the_command_line_loads_no_library_worth_waiting_for() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['whet', '--help']\n"
        "from whet_tui.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
    )
    assert not loaded_after(program) & {"grpc", "textual", "langgraph", "openai", "mcp", "sqlalchemy", "whet_server"}


def test_the_first_frame_waits_for_nothing_that_only_a_place_or_a_session_needs() -> None:
    loaded = loaded_after("import whet_tui.application, whet_tui.bridge")
    heavy = {"grpc", "google.protobuf", "langgraph", "openai", "textual_plotext", "plotext", "markdown_it", "yaml"}
    assert not loaded & heavy
    assert not loaded & {"whet_tui.screens.fanout", "whet_tui.screens.sessions", "whet_tui.grpc_desk", "whet_agent"}


@pytest.mark.parametrize("room", ["whet_prompts", "whet.v1.event_pb2"])
def test_the_ground_floor_knows_no_room(room: str) -> None:
    loaded = loaded_after(f"import {room}")
    assert not [name for name in loaded if name.startswith("whet_") and not name.startswith("whet_prompts")]
