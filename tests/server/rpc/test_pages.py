import pytest

from whet.v1 import value_pb2
from whet_server.errors import InvalidField
from whet_server.rpc.pages import MAX_SIZE, page_of

ITEMS = [f"id_{number:03}" for number in reversed(range(10))]


def test_pages_cover_a_list_once_and_the_last_has_no_token() -> None:
    seen: list[str] = []
    token = ""
    while True:
        page = page_of(value_pb2.Page(size=4, token=token), "things", "default")
        rest = [item for item in ITEMS if page.before is None or item < page.before]
        shown, token = page.cut(rest[: page.limit], lambda item: item)
        seen.extend(shown)
        if not token:
            break
    assert seen == ITEMS


def test_a_page_that_is_just_full_is_the_last() -> None:
    assert page_of(value_pb2.Page(size=10), "things").cut(ITEMS, lambda item: item)[1] == ""


@pytest.mark.parametrize("token", ["x", "####", "AAAAAAAAAAA", "ÄÖ"])
def test_a_token_that_is_none_is_refused_by_its_field(token: str) -> None:
    with pytest.raises(InvalidField) as caught:
        page_of(value_pb2.Page(token=token), "things")
    assert caught.value.violations[0][0] == "page.token"


def test_a_token_of_another_list_or_workspace_is_refused() -> None:
    _, token = page_of(value_pb2.Page(size=1), "things", "mine").cut(ITEMS, lambda item: item)
    for scope in (("others", "mine"), ("things", "yours")):
        with pytest.raises(InvalidField):
            page_of(value_pb2.Page(token=token), *scope)


def test_sizes_are_clamped_as_the_contract_says() -> None:
    assert page_of(value_pb2.Page(), "things").size == 50
    assert page_of(value_pb2.Page(size=100_000), "things").size == MAX_SIZE
