"""A day or a time as it is given to commands of both programs."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from fraud.cli import cli
from fraud.option_kinds import Moment, moment_ms

NOON_MS = 1_772_366_400_000


@pytest.mark.parametrize(
    "text", ["2026-03-01T12:00:00Z", "2026-03-01 12:00+00:00", "2026-03-01T13:00:00+01:00", "20260301T120000Z"]
)
def test_a_time_with_its_zone_is_that_moment(text: str) -> None:
    assert moment_ms(text) == NOON_MS


@pytest.mark.parametrize("text", ["2026-03-01", "20260301", "2026-W09-7"])
def test_a_day_begins_at_midnight_utc(text: str) -> None:
    assert moment_ms(text) == NOON_MS - 12 * 3_600_000


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "2026-03-01T12", "20260301T1200"])
def test_a_time_without_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no time zone: add Z for UTC"):
        moment_ms(text)


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "1772366400", ""])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is neither a day"):
        Moment().convert(text, None, None)


def test_replay_refuses_a_time_without_zone_as_training_does() -> None:
    result = CliRunner().invoke(cli, ["replay", "payments.csv", "--out", "out", "--from", "2026-03-01T12:00:00"])
    assert result.exit_code == 2
    assert "'2026-03-01T12:00:00' has no time zone: add Z for UTC" in result.output
