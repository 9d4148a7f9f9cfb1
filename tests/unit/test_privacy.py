"""Clear identifiers become tokens: keyed, the same each time, another one for each field."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud import privacy
from fraud.privacy import Tokeniser, card_prefix, ip_prefix

KEY = b"a key of more than sixteen bytes"
VALUES = st.text(min_size=1, max_size=50).filter(lambda text: text.isprintable())
FIELDS = st.sampled_from(["card_id", "ip_address", "device_id", "attributes.email"])


@given(field=FIELDS, value=VALUES)
def test_a_token_depends_on_the_key_the_field_and_the_value_alone(field: str, value: str) -> None:
    token = Tokeniser(KEY, "k1").token(field, value)
    assert Tokeniser(KEY, "k1").token(field, value) == token
    assert Tokeniser(KEY + b"!", "k1").token(field, value) != token
    assert re.fullmatch(r"k1_[a-z2-7]{26}", token)


@given(pairs=st.sets(st.tuples(FIELDS, VALUES), max_size=20))
def test_different_fields_and_values_never_share_a_token(pairs: set[tuple[str, str]]) -> None:
    tokeniser = Tokeniser(KEY, "k1")
    assert len({tokeniser.token(field, value) for field, value in pairs}) == len(pairs)


@given(field=FIELDS, value=st.from_regex(r"[0-9a-z.:]{4,40}", fullmatch=True))
def test_a_token_does_not_contain_the_clear_value(field: str, value: str) -> None:
    assert value not in Tokeniser(KEY, "k1").token(field, value)


def test_where_a_field_ends_and_its_value_begins_matters() -> None:
    tokeniser = Tokeniser(KEY, "k1")
    assert tokeniser.token("ab", "c") != tokeniser.token("a", "bc")


def test_a_token_never_changes_between_versions() -> None:
    assert Tokeniser(b"0123456789abcdef", "k1").token("card_id", "4111111111111111") == ("k1_" + EXPECTED_DIGEST)


# HMAC-SHA256 of "card_id\0" and the number under the key above, first 16 bytes, base32.
EXPECTED_DIGEST = "klr36ywxv7u5c6ghheeh2zklmm"


def test_neither_key_nor_values_are_shown() -> None:
    tokeniser = Tokeniser(KEY, "k1")
    tokeniser.token("card_id", "4111111111111111")
    assert repr(tokeniser) == "Tokeniser(key_id='k1')"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "REMEMBERED_TOKENS", 2)
    tokeniser = Tokeniser(KEY, "k1")
    tokens = [tokeniser.token("card_id", str(number)) for number in range(5)]
    assert [tokeniser.token("card_id", str(number)) for number in range(5)] == tokens


@pytest.mark.parametrize("key", [b"", b"fifteen bytes.."])
def test_a_short_key_is_refused_without_showing_it(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"at least 16 bytes, it has {len(key)}"):
        Tokeniser(key, "k1")


@pytest.mark.parametrize("key_id", ["", "K1", "k_1", "k" * 17, "k1\n"])
def test_a_key_id_is_short_and_plain(key_id: str) -> None:
    with pytest.raises(ValueError, match="key id"):
        Tokeniser(KEY, key_id)


@pytest.mark.parametrize(
    ("card_id", "prefix"),
    [
        ("4111111111111111", "411111"),
        ("4111 1111 1111 1111", "411111"),
        ("4111-1111-1111-1111", "411111"),
        ("630495060000000000", "630495"),
        ("6304950600000000000", "630495"),
        ("63049506000000000000", None),
        ("41111111111", None),
        ("card-17", None),
        ("", None),
        ("4111x11111111111", None),
    ],
)
def test_the_prefix_of_a_card_number(card_id: str, prefix: str | None) -> None:
    assert card_prefix(card_id) == prefix


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.17", "192.0.2.0/24"),
        ("255.255.255.255", "255.255.255.0/24"),
        ("256.0.0.1", None),
        ("1.2.3", None),
        ("1.2.3.4.5", None),
        ("1.2.3.x", None),
        ("\u0661.2.3.4", None),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("2001:0DB8:0001:ffff::", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("2001:db8::/32", None),
        ("not an address", None),
        ("", None),
    ],
)
def test_the_network_of_an_address(address: str, prefix: str | None) -> None:
    assert ip_prefix(address) == prefix


@given(st.ip_addresses(v=4), st.ip_addresses(v=6))
def test_every_address_has_a_network_that_contains_it(four: object, six: object) -> None:
    assert ip_prefix(str(four)) == str(four).rsplit(".", 1)[0] + ".0/24"
    prefix = ip_prefix(str(six))
    assert prefix is not None
    assert prefix.endswith("/48")
