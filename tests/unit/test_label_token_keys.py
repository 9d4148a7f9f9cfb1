"""A label finds its transaction whatever key made the customer's token, and is tokenised once however often sent."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest
from payments import HOUR_MS, START_MS, artefacts, payment
from rotated_keys import FIRST_KEY, SECOND_KEY, Stores, keyed, values

from fraud.bootstrap import token_maker
from fraud.features.extraction import Extraction
from fraud.live.dead_letter import DeadLetter, DeadLetterBox, MessagePlace, decode_dead_letter
from fraud.live.decisions import Arrival
from fraud.live.labels import LabelService
from fraud.live.measures import Measures
from fraud.live.outgoing import Outgoing
from fraud.live.wire import decode_label
from fraud.settings import Settings
from fraud.stores.memory import MemoryLabels
from fraud.transaction import TransactionMessage

SETTINGS = Settings(tokenised_fields=("user_id", "merchant_id"))
BEFORE, ROTATING, AFTER = (
    keyed(SETTINGS, FIRST_KEY),
    keyed(SETTINGS, SECOND_KEY, FIRST_KEY),
    keyed(SETTINGS, SECOND_KEY),
)
WAIT_MS = 3 * HOUR_MS
PLACE = MessagePlace("labels", "labels-id", 0, 7, START_MS + HOUR_MS, b"customer")
LABEL = msgspec.json.encode(
    {
        "label_id": "l1",
        "transaction_id": "t1",
        "user_id": "customer",
        "label": "fraud",
        "source": "analyst",
        "known_at": "2026-03-02T13:00:00Z",
    }
)


def purchase(number: int, after_ms: int) -> TransactionMessage:
    return msgspec.structs.replace(payment(f"t{number}", after_ms, 20.0), merchant_id="merchant")


class Labels:
    """Workers that learn labels, one after the other, each with its keys; their stores outlive them."""

    def __init__(self) -> None:
        self.stores = Stores(SETTINGS)
        self.kept = MemoryLabels()
        self.letters: list[DeadLetter] = []

    def worker(self, settings: Settings, box: DeadLetterBox | None = None) -> LabelService:
        plan = self.stores.plan
        return LabelService(
            self.kept,
            self.stores.tables,
            self.stores.windows,
            Extraction(artefacts(SETTINGS, "default").feature_set, plan, 2),
            box or box_of("k1"),
            Measures(),
            wait_ms=WAIT_MS,
            tokeniser=token_maker(settings),
            random=Random(1).random,
        )

    def learn(self, settings: Settings, place: MessagePlace = PLACE, value: bytes = LABEL) -> None:
        assert asyncio.run(self.worker(settings).handle([Arrival(place, value)])) == []

    def look_again(self, settings: Settings, after_ms: int, box: DeadLetterBox | None = None) -> None:
        asyncio.run(self.worker(settings, box).look_again(START_MS + after_ms, "labels", self._publish))

    async def _publish(self, outgoing: list[Outgoing]) -> None:
        self.letters += [decode_dead_letter(message.value) for message in outgoing]

    @property
    def waiting(self) -> list[str]:
        """The customers, by token, whose labels wait."""
        return [one.label.user_id for one in asyncio.run(self.kept.waiting())]

    def hours_since_fraud(self, settings: Settings, number: int, after_ms: int) -> object:
        """What a purchase at the same merchant sees."""
        self.stores.worker(settings).take([purchase(number, after_ms)])
        return values(self.stores)[-1]["merchant_hours_since_fraud"]


def box_of(key_id: str) -> DeadLetterBox:
    return DeadLetterBox(f"a key for tests, long enough: {key_id}", key_id, Random(key_id).randbytes)


@pytest.fixture
def labels() -> Labels:
    return Labels()


def test_a_label_finds_a_transaction_that_stands_under_the_token_before(labels: Labels) -> None:
    labels.stores.worker(BEFORE).take([purchase(1, 0)])
    labels.learn(ROTATING)
    assert labels.waiting == []
    assert labels.hours_since_fraud(ROTATING, 2, 2 * HOUR_MS) == 2


@pytest.mark.parametrize("later", [ROTATING, AFTER], ids=["while both keys are there", "when the former key is gone"])
def test_a_label_that_waits_finds_a_transaction_that_came_after_the_change(labels: Labels, later: Settings) -> None:
    labels.learn(BEFORE)
    assert [token.partition("_")[0] for token in labels.waiting] == ["k1"]
    labels.stores.worker(later).take([purchase(1, 0)])
    labels.look_again(later, HOUR_MS)
    assert (labels.waiting, labels.letters) == ([], [])
    assert labels.hours_since_fraud(later, 2, 2 * HOUR_MS) == 2
    # It is kept with its transaction, where training looks for it.
    token = token_maker(later).token("user_id", "customer")
    kept = msgspec.structs.replace(decode_label(LABEL), user_id=token)
    assert asyncio.run(labels.kept.append(kept)) == [kept]


def test_a_label_parked_by_a_new_worker_finds_what_an_old_one_decides(labels: Labels) -> None:
    labels.learn(ROTATING)
    labels.stores.worker(BEFORE).take([purchase(1, 0)])
    labels.look_again(ROTATING, HOUR_MS)
    assert labels.waiting == []
    assert labels.hours_since_fraud(ROTATING, 2, 2 * HOUR_MS) == 2


def test_a_label_that_is_given_up_and_sent_again_is_tokenised_once(labels: Labels) -> None:
    labels.learn(BEFORE)
    labels.look_again(ROTATING, HOUR_MS + WAIT_MS + 1)
    (letter,) = labels.letters
    sent_again = box_of("k1").open(letter)
    assert (sent_again, labels.waiting) == (LABEL, [])
    assert (letter.key, "customer" in letter.reason) == (token_maker(BEFORE).token("user_id", "customer"), False)
    labels.learn(ROTATING, msgspec.structs.replace(PLACE, offset=8), sent_again)
    assert labels.waiting == [token_maker(ROTATING).token("user_id", "customer")]
    labels.stores.worker(ROTATING).take([purchase(1, 0)])
    labels.look_again(ROTATING, HOUR_MS)
    assert labels.waiting == []
    assert labels.hours_since_fraud(ROTATING, 2, 2 * HOUR_MS) == 2


def test_what_was_sealed_under_a_key_that_is_gone_waits_on_and_is_given_up_as_it_is(labels: Labels) -> None:
    labels.learn(BEFORE)
    labels.stores.worker(ROTATING).take([purchase(1, 0)])
    labels.look_again(ROTATING, HOUR_MS, box_of("k2"))
    assert len(labels.waiting) == 1
    labels.look_again(ROTATING, HOUR_MS + WAIT_MS + 1, box_of("k2"))
    (letter,) = labels.letters
    assert (letter.key_id, box_of("k1").open(letter)) == ("k1", LABEL)
