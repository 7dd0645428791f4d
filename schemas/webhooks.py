"""What webhooks are: the events of a district, their envelope, and when a delivery is tried again.

Standard Webhooks, exactly: ids, timestamps and signatures as its libraries check them, its schedule
of ten tries over three days. An event rings and says where to look; it holds ids and counts, and no
value of a record.
"""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

import orjson

EventType: TypeAlias = Literal[
    "csv.import.started",
    "csv.import.completed",
    "csv.import.failed",
    "csv.import.held",
    "csv.export.completed",
    "csv.export.failed",
    "roster.version.published",
    "webhook.failing",
    "webhook.disabled",
    "webhook.test",
]
EVENTS: tuple[EventType, ...] = get_args(EventType)
"""All that a subscription can be rung for. `webhook.test` reaches the one that is tested."""

DeliveryState: TypeAlias = Literal["waiting", "sending", "held", "delivered", "failed", "dropped"]
DELIVERY_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)

BODY_MAX = 20_000
"""Bytes of a body: more belongs behind an address that the receiver asks."""

KEPT_DAYS = 30
"""How long an event can be read and sent again."""

WEBHOOKS_MAX = 50
WEBHOOKS_OF_CLIENT_MAX = 5
"""Of one district, and of each client: every event writes so many rows."""

# --- Names ---------------------------------------------------------------------------------

PREFIX = "evt_"
SECRET_PREFIX = "whsec_"  # noqa: S105  # what begins one
SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)
SEALED_FOR = "webhook-secret"


def message_id(event_id: UUID) -> str:
    """The webhook-id: the same for every attempt and every subscription."""
    return PREFIX + event_id.hex


def parsed_message_id(text: str) -> UUID:
    """The event again; raises ValueError."""
    if not text.startswith(PREFIX):
        raise ValueError(text)
    return UUID(text.removeprefix(PREFIX))


def shown_secret(secret: bytes) -> str:
    """A secret as its holder has it."""
    return SECRET_PREFIX + b64encode(secret).decode()


def envelope(
    event_type: EventType, at: datetime, district: str, sequence: int, data: Mapping[str, Any]
) -> str:
    """The body of an event, as it is signed and sent; raises TooFat."""
    body = orjson.dumps(
        {
            "type": event_type,
            "timestamp": at,
            "district": district,
            "sequence": sequence,
            "data": data,
        },
        default=str,
        option=orjson.OPT_UTC_Z,
    )
    if len(body) > BODY_MAX:
        raise TooFat(event_type, len(body))
    return body.decode()


def of_run(
    run_id: UUID, entity: str | None, state: str, metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What an event says of a run; a package has no single type of entity."""
    return {
        "jobId": str(run_id),
        "entityType": entity or "package",
        "status": state,
        "metadata": metadata or {},
    }


def client_of(data: Mapping[str, Any]) -> str | None:
    """The client whose affair it is; None: it is the district's."""
    client: str | None = data.get("metadata", {}).get("client")
    return client


class TooFat(ValueError):
    """An event has grown beyond what a doorbell says."""


# --- Trying again --------------------------------------------------------------------------

PAUSES: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds between the ten tries, 75 h 35 min in all."""

JITTER = 0.2

DISABLED_AFTER_DAYS = 5
TIMEOUTS_MAX = 5
"""Timeouts in a row after which an endpoint is asked again only now and then."""


def pause_after(tries: int, chance: float, retry_after: float | None = None) -> float | None:
    """Seconds until the next try after so many that failed; None: it is given up.

    `chance` is between 0 and 1. What the receiver asks for counts up to twice the base.
    """
    if tries > len(PAUSES):
        return None
    base = PAUSES[tries - 1]
    pause = base * (1 + JITTER * (2 * chance - 1))
    return pause if retry_after is None else min(max(pause, retry_after), 2 * base)


# --- What can go wrong with an attempt -----------------------------------------------------

Failure: TypeAlias = Literal[
    "answer_refused",
    "gone",
    "redirected",
    "timeout",
    "connect_timeout",
    "connect_failed",
    "tls_failed",
    "cut_off",
    "head_too_large",
    "host_unknown",
    "address_refused",
    "resolver_away",
    "network_away",
    "secret_unreadable",
]
OURS: frozenset[Failure] = frozenset({"resolver_away", "network_away", "secret_unreadable"})
"""Failures of this installation: they are not held against the endpoint."""

HANGING: frozenset[Failure] = frozenset({"timeout", "connect_timeout"})
"""Failures that keep somebody waiting."""

Said: TypeAlias = Mapping[str, str]

FAILURES: Mapping[Failure, Said] = {
    "answer_refused": {
        "en": "The receiver answered with a status other than 2xx.",
        "ja": "受信側が 2xx 以外の状態で応答しました。",
    },
    "gone": {
        "en": "The receiver answered 410: it does not want this webhook any more.",
        "ja": "受信側が 410 で応答しました。この Webhook はもう不要という意味です。",
    },
    "redirected": {
        "en": "The receiver answered with a redirect, which is not followed: correct the URL.",
        "ja": "受信側がリダイレクトで応答しました。転送先へは送りません。URL を直してください。",
    },
    "timeout": {
        "en": "The receiver did not answer within 15 seconds.",
        "ja": "15 秒以内に応答がありませんでした。",
    },
    "connect_timeout": {
        "en": "No connection within 5 seconds.",
        "ja": "5 秒以内に接続できませんでした。",
    },
    "connect_failed": {
        "en": "The receiver refused or broke the connection.",
        "ja": "接続を拒否されたか、切断されました。",
    },
    "tls_failed": {
        "en": "TLS failed: look at the certificate and its name.",
        "ja": "TLS で失敗しました。証明書とその名前を確認してください。",
    },
    "cut_off": {
        "en": "The answer ended before its end, or is not HTTP.",
        "ja": "応答が途中で切れたか、HTTP ではありません。",
    },
    "head_too_large": {
        "en": "The head of the answer is larger than 16 KiB.",
        "ja": "応答のヘッダーが 16 KiB を超えています。",
    },
    "host_unknown": {
        "en": "The host name does not exist.",
        "ja": "ホスト名が存在しません。",
    },
    "address_refused": {
        "en": "The host resolves to an address, or the URL names a port, that is not let out.",
        "ja": "送信が許可されていないアドレスまたはポートです。",
    },
    "resolver_away": {
        "en": "The name could not be looked up: a fault of this installation. It does not count.",
        "ja": "名前解決ができませんでした。こちらの障害のため、失敗に数えません。",
    },
    "network_away": {
        "en": "This installation has no way to the network. It does not count.",
        "ja": "こちらからネットワークに出られませんでした。失敗に数えません。",
    },
    "secret_unreadable": {
        "en": "The secret cannot be read with ROSTERHUB_SECRET_KEY: rotate it. It does not count.",
        "ja": "ROSTERHUB_SECRET_KEY では署名の鍵を読めません。更新が必要です。失敗に数えません。",
    },
}

# --- What the owner of a subscription is told ----------------------------------------------

Notice: TypeAlias = Literal["failing_1_day", "failing_3_days", "disabled_failing", "disabled_gone"]

WARNED_AFTER_DAYS: Mapping[Notice, int] = {"failing_1_day": 1, "failing_3_days": 3}

NOTICES: Mapping[Notice, Said] = {
    "failing_1_day": {
        "en": "Every delivery has failed for a day.",
        "ja": "1 日間、配信がすべて失敗しています。",
    },
    "failing_3_days": {
        "en": "Every delivery has failed for three days. After five days the webhook is disabled.",
        "ja": "3 日間、配信がすべて失敗しています。5 日続くと Webhook を無効にします。",
    },
    "disabled_failing": {
        "en": "Every delivery has failed for five days: the webhook is disabled. Events wait.",
        "ja": "5 日間、配信がすべて失敗したため無効にしました。イベントは保留しています。",
    },
    "disabled_gone": {
        "en": "The receiver answered 410: the webhook is disabled. Events wait.",
        "ja": "受信側が 410 で応答したため無効にしました。イベントは保留しています。",
    },
}

# --- The stream ----------------------------------------------------------------------------

STREAM_LENGTH = 2_000


def stream(tenant_id: int) -> str:
    """The Redis stream of a district: what its runs say, as a bell and for who watches."""
    return f"{{rosterhub}}:districts:{tenant_id}:events"
