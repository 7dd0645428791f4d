"""The sender: one thread that speaks to PostgreSQL, and one for each delivery that is under way.

A bell or a look brings the sender to claim what is due, as far as it has hands. A hand speaks
HTTP and nothing else; what came of it is written down by the sender, many in one transaction. No
endpoint delays another: it has two deliveries under way at most, all that kept us waiting lately
share a half of the hands, and one that hangs again and again is asked only now and then. A sender
that is killed has written nothing down, so what it had in hand is sent again, with the same id.
"""

import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import structlog
from standardwebhooks import Webhook

from pipeline import deliveries
from pipeline.database import Connection, connect
from pipeline.deliveries import BUSY, Due, Letter, Outcome
from schemas.sealing import BrokenSeal, Seal
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from schemas.wall import Wall
from schemas.webhooks import SEALED_FOR, message_id
from workers import metrics
from workers.bells import heard
from workers.outward import Answer, Outward
from workers.signals import asked_to_stop, waited

NAME = "rosterhub webhooks"
EACH = 2  # deliveries of one endpoint under way
GRACE = 3.0  # seconds that a stop waits for what is under way
SWEEP = 60.0  # seconds between two looks at endpoints that fail
TIDY = 3600.0  # seconds between two looks at what has served its time
AGENT = f"RosterHub/{version('rosterhub')} (webhooks)"

Endpoint: TypeAlias = tuple[int, UUID]

log = structlog.get_logger()


@dataclass(slots=True)
class Sender:
    """The webhooks of an installation, as one process sends them."""

    url: str
    seal: Seal
    outward: Outward
    stopping: threading.Event
    hands: int = 64
    wake: threading.Event = field(default_factory=threading.Event)
    ended: "queue.SimpleQueue[Outcome]" = field(default_factory=queue.SimpleQueue)
    flying: "Counter[Endpoint]" = field(default_factory=Counter)
    slow: set[Endpoint] = field(default_factory=set)
    unwritten: "defaultdict[int, list[Outcome]]" = field(default_factory=lambda: defaultdict(list))
    swept: float = -SWEEP
    tidied: float = -TIDY

    @classmethod
    def of(cls, settings: Settings, stopping: threading.Event) -> "Sender":
        """The sender that the settings describe."""
        vault = Vault(plain(settings.secret_key))
        return cls(
            plain(settings.database_url),
            Seal(vault, SEALED_FOR),
            Outward(Wall.of(settings.webhook_allow)),
            stopping,
            settings.webhook_hands,
        )

    def ring(self, **_facts: Any) -> None:  # noqa: ANN401  # what a bell says does not matter
        """Somebody says that there is something to send."""
        self.wake.set()

    def watch(self, every: float) -> None:
        """Send what is due until told to stop, whoever rings or does not."""
        away = False
        while not self.stopping.is_set():
            try:
                with (
                    connect(self.url, role="rosterhub_control", name=NAME) as control,
                    connect(self.url, name=NAME) as db,
                ):
                    away = False
                    self._send(db, control, every)
                    self._leave(db)
            except psycopg.Error as error:
                if not away:
                    log.warning("database_away", desk="webhooks", error=type(error).__name__)
                away = True
                waited(self.stopping, every)

    def _send(self, db: Connection, control: Connection, every: float) -> None:
        while not self.stopping.is_set():
            self.wake.clear()
            self._write(db)
            self._look_after(db, control)
            if not self._take(db, control):
                self._wait(every)

    def _wait(self, every: float) -> None:
        """Until a bell, a hand that is free again, or the next look; a stop is seen in time."""
        until = time.monotonic() + every
        while not self.stopping.is_set() and (left := until - time.monotonic()) > 0:
            if self.wake.wait(min(left, 0.2)):
                return

    # --- What is due -----------------------------------------------------------------------

    def _take(self, db: Connection, control: Connection) -> int:
        """Claim as much as there are hands for; answer how much that was."""
        if self.flying.total() >= self.hands:
            return 0
        taken = 0
        wanted: defaultdict[int, list[UUID]] = defaultdict(list)
        for each in self._chosen(deliveries.due(control)):
            wanted[each.tenant_id].append(each.webhook_id)
            if each.slow:
                self.slow.add((each.tenant_id, each.webhook_id))
            else:
                self.slow.discard((each.tenant_id, each.webhook_id))
        for tenant_id, webhooks in wanted.items():
            for letter in deliveries.claim(db, tenant_id, webhooks):
                self._hand_out(letter)
                taken += 1
        return taken

    def _chosen(self, found: Iterable[Due]) -> Iterable[Due]:
        """Those that get a hand now: no endpoint a third one, and the slow ones no second half."""
        free = self.hands - self.flying.total()
        slow = sum(number for endpoint, number in self.flying.items() if endpoint in self.slow)
        room = max(self.hands // 2 - slow, 0)
        return islice(self._allowed(found, room), free)

    def _allowed(self, found: Iterable[Due], room: int) -> Iterable[Due]:
        for each in found:
            if self.flying[each.tenant_id, each.webhook_id] >= EACH:
                continue
            if each.slow:
                if room == 0:
                    continue
                room -= 1
            yield each

    def _hand_out(self, letter: Letter) -> None:
        self.flying[letter.endpoint] += 1
        threading.Thread(target=self._deliver, args=(letter,), name="hand", daemon=True).start()

    # --- A hand ----------------------------------------------------------------------------

    def _deliver(self, letter: Letter) -> None:
        """One attempt, in a thread of its own."""
        began = time.monotonic()
        try:
            outcome = self._attempt(letter)
        except Exception as error:  # noqa: BLE001  # whatever it is, the delivery must come back
            log.warning("delivery_broke", error=type(error).__name__, **shown(letter))
            outcome = Outcome(letter, time.monotonic() - began, "network_away")
        self.ended.put(outcome)
        self.wake.set()

    def _attempt(self, letter: Letter) -> Outcome:
        try:
            headers = signed(letter, self._secrets(letter), datetime.now(UTC))
        except BrokenSeal:
            return Outcome(letter, 0.0, "secret_unreadable")
        return outcome_of(letter, self.outward.post(letter.url, headers, letter.body.encode()))

    def _secrets(self, letter: Letter) -> list[bytes]:
        """Those that sign: the newest, and while a receiver changes over the one before."""
        sealed = [each for each in (letter.secret, letter.previous_secret) if each is not None]
        return [self.seal.open(letter.webhook_id, each) for each in sealed]

    # --- What came of it -------------------------------------------------------------------

    def _write(self, db: Connection) -> None:
        """Write down what came of the attempts that have ended."""
        while not self.ended.empty():
            outcome = self.ended.get()
            self._land(outcome)
            self.unwritten[outcome.letter.tenant_id].append(outcome)
        for tenant_id in [*self.unwritten]:
            try:
                deliveries.record(db, tenant_id, self.unwritten[tenant_id])
            except BUSY:
                continue  # somebody holds the district for a moment: with the next ones, then
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise  # the database is away: they are written when it is back
            except psycopg.Error as error:
                # What cannot be written is sent again when its lease is over.
                log.warning("outcomes_not_written", tenant_id=tenant_id, error=type(error).__name__)
            del self.unwritten[tenant_id]

    def _land(self, outcome: Outcome) -> None:
        endpoint = outcome.letter.endpoint
        self.flying[endpoint] -= 1
        if not self.flying[endpoint]:
            del self.flying[endpoint]
        metrics.WEBHOOK_ATTEMPTS.labels(outcome=outcome.failure or "delivered").inc()
        metrics.WEBHOOK_SECONDS.observe(outcome.seconds)
        if outcome.failure is not None:
            facts = {"failure": outcome.failure, "status": outcome.status}
            log.info("delivery_failed", **shown(outcome.letter), **facts)

    def _look_after(self, db: Connection, control: Connection) -> None:
        """Now and then: endpoints that have failed for days, and what has served its time."""
        now = time.monotonic()
        if now - self.swept >= SWEEP:
            self.swept = now
            with suppress(*BUSY):
                if given := deliveries.warn(db, control):
                    log.info("notices_given", number=given)
        if now - self.tidied >= TIDY:
            self.tidied = now
            deliveries.tidy(db, control, self.seal)

    def _leave(self, db: Connection) -> None:
        """Wait a moment for what is under way; the rest is sent again by somebody else."""
        until = time.monotonic() + GRACE
        while self.flying and time.monotonic() < until:
            self.wake.wait(0.1)
            self.wake.clear()
            self._write(db)


def run(settings: Settings) -> None:
    """Send until told to stop. A process of its own, which needs nothing that imports need."""
    sender = Sender.of(settings, asked_to_stop())
    with heard(plain(settings.redis_url), "webhooks", sender.ring):
        sender.watch(settings.poll)


def signed(letter: Letter, secrets: Iterable[bytes], now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks; one signature for each secret, blanks between."""
    name = message_id(letter.event_id)
    signatures = [Webhook(secret).sign(name, now, letter.body) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        "Connection": "close",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def outcome_of(letter: Letter, answer: Answer) -> Outcome:
    """The answer, and what it is an answer to."""
    return Outcome(
        letter,
        answer.seconds,
        answer.failure,
        answer.status,
        answer.response,
        answer.retry_after,
    )


def shown(letter: Letter) -> dict[str, Any]:
    """What a log may say of a delivery."""
    return {
        "tenant_id": letter.tenant_id,
        "webhook_id": str(letter.webhook_id),
        "event_id": message_id(letter.event_id),
        "attempt": letter.number,
    }
