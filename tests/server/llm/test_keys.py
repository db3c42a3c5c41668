import stat
from pathlib import Path

import msgspec
import pytest

from whet_server.llm.keys import BoundKey, KeyNotOpened, Sealer, WrongOrigin, origin_of

PLACE = {"workspace": "default", "endpoint": "openai", "origin": "https://api.openai.com:443"}


def test_a_sealed_key_opens_where_it_was_sealed() -> None:
    sealer = Sealer(bytes(32))
    opened = sealer.open(sealer.seal("sk-1", **PLACE), **PLACE)
    assert opened.reveal(PLACE["origin"]) == "sk-1"


@pytest.mark.parametrize("part", ["workspace", "endpoint", "origin"])
def test_a_sealed_key_does_not_open_elsewhere(part: str) -> None:
    sealer = Sealer(bytes(32))
    sealed = sealer.seal("sk-1", **PLACE)
    with pytest.raises(KeyNotOpened):
        sealer.open(sealed, **(PLACE | {part: "other"}))


@pytest.mark.parametrize("place", range(5))
def test_a_sealed_key_with_one_flipped_bit_does_not_open(place: int) -> None:
    sealer = Sealer(bytes(32))
    sealed = bytearray(sealer.seal("sk-1", **PLACE))
    sealed[place * len(sealed) // 5] ^= 1
    with pytest.raises(KeyNotOpened):
        sealer.open(bytes(sealed), **PLACE)


def test_another_master_key_does_not_open_it() -> None:
    with pytest.raises(KeyNotOpened):
        Sealer(b"x" * 32).open(Sealer(bytes(32)).seal("sk-1", **PLACE), **PLACE)


def test_parts_of_a_place_cannot_be_shifted_into_each_other() -> None:
    sealer = Sealer(bytes(32))
    sealed = sealer.seal("sk-1", workspace="a", endpoint="bc", origin="d")
    with pytest.raises(KeyNotOpened):
        sealer.open(sealed, workspace="ab", endpoint="c", origin="d")
    with pytest.raises(ValueError, match="NUL"):
        sealer.seal("sk-1", workspace="a\0b", endpoint="c", origin="d")


def test_the_same_key_is_sealed_differently_each_time() -> None:
    sealer = Sealer(bytes(32))
    assert sealer.seal("sk-1", **PLACE) != sealer.seal("sk-1", **PLACE)


def test_a_key_is_revealed_to_its_origin_only() -> None:
    key = BoundKey("sk-1", "https://api.openai.com:443")
    with pytest.raises(WrongOrigin):
        key.reveal("https://api.openai.com:8443")


def test_a_key_shows_in_no_text_and_no_record() -> None:
    key = BoundKey("sk-secret", "https://a:443")
    assert "sk-secret" not in f"{key} {key!r}"
    with pytest.raises(TypeError):
        msgspec.json.encode(key)


def test_the_master_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = Sealer.from_file(path).seal("sk-1", **PLACE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Sealer.from_file(path).open(sealed, **PLACE).reveal(PLACE["origin"]) == "sk-1"


def test_a_master_key_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "key"
    Sealer.from_file(path)
    path.chmod(0o644)
    Sealer.from_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.OpenAI.com/v1", "https://api.openai.com:443"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost:80"),
        ("https://[::1]:4000/v1", "https://[::1]:4000"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin
