import pytest

from fraud.sources import shown_value


@pytest.mark.parametrize(
    ("clear", "shown"),
    [
        ("4111111111111111", "411111******1111"),
        ("4111 1111 1111 1111", "4111 11** **** 1111"),
        ("4111-1111-1111-1111", "4111-11**-****-1111"),
        ("pay 4111111111111111 now", "pay 411111******1111 now"),
        ("123456789012", "12******9012"),
        ("6304000000000000000", "630400*********0000"),
        ("12345678901", "12345678901"),
        ("2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00.000Z"),
    ],
)
def test_card_numbers_keep_at_most_their_first_six_and_last_four_digits(clear: str, shown: str) -> None:
    assert shown_value(clear) == shown


def test_a_number_longer_than_any_card_is_masked_too() -> None:
    assert shown_value("9" * 30) == "999999" + "*" * 20 + "9999"


def test_a_long_value_is_cut_to_80_characters() -> None:
    assert shown_value("x" * 81) == "x" * 79 + "…"
    assert shown_value("x" * 80) == "x" * 80
    assert len(shown_value("x" * 10_000_000)) == 80


def test_masking_comes_before_cutting() -> None:
    assert "4111111111111" not in shown_value("a" * 66 + "4111111111111111")


@pytest.mark.parametrize("field", ["card_id", "ip_address"])
def test_card_and_address_fields_show_their_last_four_characters_only(field: str) -> None:
    assert shown_value("192.168.10.254", field) == "**********.254"
    assert shown_value("1.2.3.4", field) == "*******"
    assert shown_value("x" * 5_000, field) == "*" * 79 + "…"


def test_an_object_that_secret_fields_are_of_is_masked_like_them() -> None:
    secret = ("attributes.phone",)
    assert shown_value("{'phone': '+4915112345', 'note': None}", "attributes", secret).startswith("*" * 30)
    assert shown_value("+4915112345", "attributes.phone", secret) == "*******2345"
    assert shown_value("a note", "attributes.note", secret) == "a note"
    assert "4915112345" not in shown_value("a whole line with +4915112345 in it", "", secret)
