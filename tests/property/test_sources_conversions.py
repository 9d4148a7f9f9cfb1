from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.sources import shown_value, values
from fraud.sources.targets import target_conversion
from fraud.transaction import EPOCH, TransactionMessage

ZONES = (UTC, ZoneInfo("Europe/Berlin"))
CONVERSIONS = {
    **{
        target: target_conversion(target)[1] for target in TransactionMessage.__struct_fields__ if target != "timestamp"
    },
    "prefixed": values.with_prefix("C", values.text()),
    "translated": values.translated({"a": "b", "1": None}, values.text()),
    "time with zone": values.iso_moment(None),
    "time in UTC": values.iso_moment(UTC),
    "time in Berlin": values.iso_moment(ZONES[1]),
    "time by pattern": values.iso_moment(UTC, "%Y-%m-%d"),
    "seconds": values.elapsed_moment(EPOCH, timedelta(seconds=1), "seconds"),
}
TEXTS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["", "a", "1", "0", "true", "FALSE", "12.5", "-0", "1e3", "1_0", "nan", "inf", " 7 ", "٣", "EUR"]),
    st.sampled_from(["chip", "refund", "approved", "{}", '{"a": 1}', '{"a": null}', "x" * 201, "[" * 2_000]),
    st.datetimes(timezones=st.sampled_from([None, *ZONES])).map(datetime.isoformat),
    st.dates().map(str),
    st.floats().map(str),
)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**5_000), 2**53 + 1]),
    st.floats(),
    st.binary(max_size=3),
    st.datetimes(timezones=st.sampled_from([None, *ZONES])),
    st.dictionaries(st.text(max_size=2), st.one_of(st.none(), st.text(max_size=2), st.floats()), max_size=2),
    st.lists(st.integers(), max_size=2),
)


@pytest.mark.parametrize("name", CONVERSIONS)
@given(data=st.data())
def test_the_fast_form_says_what_the_deciding_form_says_or_steps_aside(name: str, data: st.DataObject) -> None:
    conversion = CONVERSIONS[name]
    column = data.draw(st.one_of(*(st.lists(kind, min_size=1, max_size=4) for kind in (TEXTS, st.floats(), VALUES))))
    one_by_one: list[Any] = []
    for value in column:
        try:
            one_by_one.append(conversion.value(value))
        except values.Refusal as refusal:
            one_by_one.append(refusal)
    try:
        block = conversion.block(column)
    except values.BLOCK_ERRORS:
        return
    assert repr(block) == repr(one_by_one)


@given(st.text(alphabet="0123456789 -x.", max_size=200), st.sampled_from(["", "user_id", "card_id", "ip_address"]))
def test_a_shown_value_is_short_and_shows_no_card_number(value: str, field: str) -> None:
    shown = shown_value(value, field)
    assert len(shown) <= 80
    digits = "".join(character for character in shown.replace(" ", "").replace("-", ""))
    runs = [run for run in "".join(c if c.isdigit() else "/" for c in digits).split("/") if len(run) >= 12]
    # Numbers that stand apart by more than one space or dash are not one number.
    assert not runs or "  " in value or "- " in value or " -" in value or "--" in value
