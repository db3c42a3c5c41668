import pytest

from whet_tui.opening import _preferred


@pytest.mark.parametrize(
    ("listed", "chosen"),
    [
        (["whisper-1", "gpt-4o", "gpt-4.1-mini"], "gpt-4.1-mini"),
        (["qwen3:8b", "llama3.2"], "qwen3:8b"),
        ([], "gpt-4.1-mini"),
    ],
)
def test_the_mind_is_the_best_that_is_listed_else_the_first_else_a_known_one(listed: list[str], chosen: str) -> None:
    assert _preferred(listed) == chosen
