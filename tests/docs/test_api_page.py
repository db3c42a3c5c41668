from whet_agent.catalogue import methods, tools
from whet_tui.cli.root import OWN
from whet_tui.docs import PAGE, ROOT, SETTINGS_PAGE, rendered


def test_the_tables_are_fresh() -> None:
    for path in (PAGE, SETTINGS_PAGE):
        page = path.read_text(encoding="utf-8")
        assert rendered(page) == page, "run `make docs`"


def test_every_rpc_tool_and_command_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = [
        f"{method.service.removeprefix('whet.v1.')}.{method.name}" for method in methods() if not method.is_dialogue
    ]
    names += [f"`whet {' '.join(method.command)}`" for method in methods() if not method.is_dialogue]
    names += [f"### `{name}`" for name in tools()] + [f"`whet {name}`" for name in OWN]
    assert [name for name in names if name not in page] == []


def test_every_reason_of_the_contract_is_explained() -> None:
    from whet.v1 import error_reason_pb2

    page = PAGE.read_text(encoding="utf-8")
    reasons = [name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()[1:]]
    assert [reason for reason in reasons if f"| `{reason}` |" not in page] == []


def test_links_of_the_documents_lead_somewhere() -> None:
    import re

    fenced = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # a program's brackets are no links
    links = [
        (page, target)
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", fenced.sub("", page.read_text(encoding="utf-8")))
        if "://" not in target
    ]
    assert [(str(page), target) for page, target in links if not (page.parent / target).exists()] == []
