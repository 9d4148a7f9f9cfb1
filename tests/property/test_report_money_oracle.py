"""The ledger against an oracle that has all rows before it: first it cuts payments, then it judges each."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fraud.report.money import MoneyLedger
from fraud.transaction import Transaction

HOUR_MS = 3_600_000

rows = st.lists(
    st.tuples(
        st.sampled_from(["u", "v"]),
        st.sampled_from(["c", "d", None]),
        st.sampled_from([("m", None, None), (None, "p", None), (None, None, "t"), (None, None, None)]),
        st.sampled_from([100, 200]),
        st.sampled_from([0, 1, HOUR_MS // 2, HOUR_MS, HOUR_MS + 1, -HOUR_MS]),
        st.sampled_from(["approved", "declined", None]),
        st.integers(0, 3),
        st.integers(-1, 1),
    ),
    max_size=40,
)


def transactions_of(generated):
    timestamp_ms = 1_772_323_200_000
    for number, (user, card, (merchant, counterparty, terminal), amount, step, result, action, label) in enumerate(
        generated
    ):
        timestamp_ms += step
        transaction = Transaction(
            transaction_id=str(number),
            user_id=user,
            timestamp_ms=timestamp_ms,
            amount_minor=amount,
            currency="EUR",
            base_amount_minor=amount + number,
            auth_result=result,
            card_id=card,
            merchant_id=merchant,
            counterparty_id=counterparty,
            terminal_id=terminal,
        )
        yield transaction, action, label


def payments_of(attempts):
    """Cut numbered rows into payments: lists of numbered rows, in order of their first attempt."""
    payments = []
    for number, entry in attempts:
        latest = max(
            (payment for payment in payments if payee_of(payment[0][1][0]) == payee_of(entry[0])),
            key=lambda payment: payment[-1][0],
            default=None,
        )
        if latest and abs(latest[-1][1][0].timestamp_ms - entry[0].timestamp_ms) <= HOUR_MS:
            latest.append((number, entry))
        else:
            payments.append([(number, entry)])
    return payments


def payee_of(transaction):
    names = ("user_id", "merchant_id", "counterparty_id", "terminal_id", "amount_minor", "currency")
    return [getattr(transaction, name) for name in names]


def closed_before(decided, number):
    card = decided[number][0].card_id or ("user", decided[number][0].user_id)
    return any(
        (earlier.card_id or ("user", earlier.user_id)) == card and action == 3 and label == 1
        for earlier, action, label in decided[:number]
    )


def expected(decided):
    money, count = Counter(), Counter()
    frauds = [(n, row) for n, row in enumerate(decided) if row[2] == 1 and row[0].auth_result != "declined"]
    for payment in payments_of(frauds):
        first = payment[0][0]
        counted = [(number, row) for number, row in payment if not closed_before(decided, number)]
        if closed_before(decided, first):
            outcome = "after_block"
        else:
            outcome = "lost" if any(action == 0 for _, (_, action, _) in counted) else "stopped"
        count[outcome] += 1
        money[outcome] += decided[first][0].base_amount_minor
    return {name: {"payments": count[name], "amount_minor": money[name]} for name in ("stopped", "lost", "after_block")}


def expected_hindered(decided):
    alerts = [
        (n, row) for n, row in enumerate(decided) if row[2] == 0 and row[1] > 0 and row[0].auth_result != "declined"
    ]
    result = {name: {"payments": 0, "amount_minor": 0} for name in ("challenge", "review", "block")}
    for payment in payments_of(alerts):
        worst = max(action for _, (_, action, _) in payment)
        entry = result[("allow", "challenge", "review", "block")[worst]]
        entry["payments"] += 1
        entry["amount_minor"] += decided[payment[0][0]][0].base_amount_minor
    return result


@given(rows)
def test_the_ledger_agrees_with_the_oracle(generated):
    decided = list(transactions_of(generated))
    ledger = MoneyLedger()
    for transaction, action, label in decided:
        ledger.add(transaction, transaction.base_amount_minor, action, label)
    assert ledger.outcomes() == expected(decided)
    assert ledger.hindered() == expected_hindered(decided)
