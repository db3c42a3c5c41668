import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet_tui.safe import exact_json, safe, safe_line

ATTACKS = {
    "a title": "\x1b]0;owned\x07",
    "a title ended by ST": "\x1b]2;owned\x1b\\",
    "a clipboard write": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "a hyperlink": "\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    "an unfinished OSC": "\x1b]0;everything after this",
    "a sixel picture": "\x1bPq#0;2;0;0;0~~\x1b\\",
    "a kitty picture": "\x1b_Gf=24,s=1,v=1;AAAA\x1b\\",
    "a privacy message": "\x1b^hidden\x1b\\",
    "a start of string": "\x1bXhidden\x1b\\",
    "a clear screen": "\x1b[2J\x1b[H",
    "a switch of screens": "\x1b[?1049l",
    "a status request": "\x1b[6n",
    "a window report": "\x1b[21t",
    "a full reset": "\x1bc",
    "an 8-bit CSI": "\x9b2J",
    "an 8-bit OSC": "\x9d0;owned\x9c",
    "an 8-bit DCS": "\x90q\x9c",
    "a charset shift": "\x1b(0lqqk\x1b(B",
    "a shift out": "\x0e\x0f",
    "a bell": "\x07",
    "an overprint": "rm -rf /\rls       ",
    "backspaces": "no\x08\x08yes",
    "a hidden escape": "\x1b\u200b[31m",
    "a sequence within a sequence": "\x1b[\x1b[31m31m",
    "an override": "access\u202egnp.exe",
    "an isolate": "if \u2066admin\u2069",
    "tags": "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all rules"),
    "smuggled bytes": "a" + "".join(chr(0xE0100 + number) for number in range(40)),
    "half a character": "\ud83d",
    "a delete": "\x7f",
    "an end of input": "\x04\x1a",
}

FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\u200b\u2028\u2029\U000e0000-\U000e0fff]"
)

pieces = st.one_of(
    st.text(), st.sampled_from(sorted(ATTACKS.values())), st.text(alphabet="\x1b\x9b[]0;m?\u200b\u200d\u0301\r\nab")
)
texts = st.lists(pieces, max_size=8).map("".join)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_no_attack_passes_the_door(attack: str) -> None:
    result = safe(f"before{attack}after")
    assert FORBIDDEN.search(result) is None
    assert result.startswith("before")
    assert result.endswith("after")
    result.encode()


@given(texts)
def test_nothing_that_a_terminal_could_obey_comes_out(text: str) -> None:
    result = safe(text)
    assert FORBIDDEN.search(result) is None
    assert all(letter in "\t\n" or unicodedata.category(letter) not in {"Cc", "Cs"} for letter in result)


@given(texts)
def test_what_has_passed_passes_unchanged(text: str) -> None:
    once = safe(text)
    assert safe(once) == once


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\u115f\u1160")))
def test_ordinary_words_are_not_touched(text: str) -> None:
    hidden = "\u3164\uffa0\u2800"
    assert safe(text) == text or any(letter in text for letter in hidden)


def test_the_words_of_an_attack_stay_readable_and_colours_vanish() -> None:
    assert safe("\x1b[1;31merror\x1b[0m: no") == "error: no"
    assert safe("\x1b]0;owned\x07") == "␛]0;owned␇"


def test_an_emoji_keeps_its_joiner_and_a_flood_of_joiners_shrinks() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert safe(family) == family
    assert safe("a" + "\u200d" * 5000 + "b") == "a\u200db"


def test_a_pile_of_accents_is_cut() -> None:
    assert safe("e" + "\u0301" * 300 + "x") == "e" + "\u0301" * 4 + "x"
    assert safe("Tiê\u0301ng Viê\u0323t") == "Tiê\u0301ng Viê\u0323t"


def test_line_ends_become_newlines() -> None:
    assert safe("a\r\nb\u2028c\td") == "a\nb\nc\td"


def test_a_line_is_one_line_of_bounded_length() -> None:
    assert safe_line("  a\n\tb\x1b[2Jc ") == "a bc"
    assert len(safe_line("x" * 10_000, 80)) == 80


def test_arguments_to_decide_about_show_what_would_be_hidden() -> None:
    shown = exact_json('{"a": "x\\u200by\\u202ez\\u001b[0m\u00ad", "b": "ü宽"}')
    assert shown == '{\n  "a": "x\\u200by\\u202ez\\u001b[0m\\u00ad",\n  "b": "ü宽"\n}'
    assert exact_json("no \x1b[31mjson") == "no json"


def test_plain_text_passes_at_fifty_megabytes_a_second() -> None:
    text = "The schnelle Füchsin springt, 敏捷的狐狸跳过去了.\n" * 100_000
    size = len(text.encode())
    best = min(_seconds(text) for _ in range(5))
    assert size / best >= 50e6


def test_a_flood_of_openings_takes_linear_time() -> None:
    assert _seconds("\x1b[" * 200_000 + "m" * 200_000) < 2.0


def _seconds(text: str) -> float:
    started = time.perf_counter()
    safe(text)
    return time.perf_counter() - started
