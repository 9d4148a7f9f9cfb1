import statistics

import pytest

from fraud.sources.labels import drawn_delay_ms
from fraud.sources.mapping import Delay, DelaySource

DAY_MS = 86_400_000
LOGNORMAL = DelaySource("7", Delay("lognormal", (20.0, 0.5)))
IDS = [f"t{number}" for number in range(4_000)]


def days(delays: DelaySource, transaction_id: str, source: str | None = None) -> float:
    drawn = drawn_delay_ms(delays, source, transaction_id)  # type: ignore[arg-type]
    assert drawn is not None
    return drawn / DAY_MS


def test_a_delay_depends_on_seed_and_transaction_alone() -> None:
    assert [days(LOGNORMAL, name) for name in IDS[:50]] == list(
        reversed([days(LOGNORMAL, name) for name in reversed(IDS[:50])])
    )
    assert days(LOGNORMAL, "t1") != days(DelaySource("8", LOGNORMAL.default), "t1")


def test_the_median_of_a_lognormal_delay_is_the_one_asked_for() -> None:
    assert statistics.median(days(LOGNORMAL, name) for name in IDS) == pytest.approx(20.0, rel=0.05)


def test_uniform_delays_stay_within_their_bounds() -> None:
    drawn = [days(DelaySource("1", Delay("uniform", (3.0, 5.0))), name) for name in IDS]
    assert 3.0 <= min(drawn) < 3.1
    assert 4.9 < max(drawn) <= 5.0


def test_a_constant_delay_is_constant() -> None:
    assert {days(DelaySource("1", Delay("constant", (2.5,))), name) for name in IDS} == {2.5}


def test_a_source_without_a_distribution_of_its_own_has_the_default_or_none() -> None:
    by_source = (("issuer_alert", Delay("constant", (1.0,))),)
    with_default = DelaySource("1", Delay("constant", (30.0,)), by_source)  # type: ignore[arg-type]
    assert days(with_default, "t", "issuer_alert") == 1.0
    assert days(with_default, "t", "chargeback") == 30.0
    assert days(with_default, "t") == 30.0
    assert drawn_delay_ms(DelaySource("1", None, by_source), "chargeback", "t") is None  # type: ignore[arg-type]


def test_no_delay_leaves_the_calendar() -> None:
    assert days(DelaySource("1", Delay("lognormal", (1e300, 1e300))), "t3") in {0.0, 3_650.0}
