"""The gateway, put together: collaborators come in, every route is listed, an app comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import falcon.asgi
from falcon.asgi import Request, Response

from api import errors
from api.addresses import Addresses
from api.admin_keys import AdminKey, AdminKeys
from api.aliases import Aliases
from api.answers import Answers
from api.audit import Audit
from api.audit_book import Book
from api.audit_lists import AuditCsv, AuditNdjson, Entries
from api.bell import Bell
from api.caller import Guarded
from api.client_keys import ClientKey, ClientKeys, ClientSecret, ClientSecrets
from api.clients import Clients, OneClient
from api.cors import Cors
from api.credentials import Credentials
from api.csv_exports import CsvDelta, CsvExport
from api.database import Database
from api.deliveries import Deliveries, Delivery, Resend, ResendMany
from api.deltas.ahead import Ahead
from api.deltas.checksums import Checksums
from api.deltas.feed import DeltaLines, Deltas, Feed
from api.deltas.objects import Objects as DeltaObjects
from api.deltas.packages import DeltaPackages
from api.deltas.places import Cursors
from api.deltas.sharing import Pages, Source
from api.deltas.waiting import Waiting
from api.diffs import Csv as DiffCsv
from api.diffs import Diff
from api.diffs import Ndjson as DiffNdjson
from api.districts import District, Districts
from api.door import Door
from api.downloads import Download
from api.erasures import Erasures, OneErasure
from api.erasures import Release as ReleaseErased
from api.events import Events as DistrictEvents
from api.events import History
from api.exports import CancelExport, DownloadAddress, Export, ExportEvents, Exports
from api.findings import Findings, Groups, Summary
from api.findings_downloads import Csv, Ndjson, Rows
from api.health import Health, Live, Ready
from api.imports import Import, Imports
from api.keys import Key, Keys
from api.lenses import ClientLens, LensExplained
from api.limits import Limits
from api.managing import Cancel, Retry
from api.mapping_tables import Table, Tables
from api.mappings import (
    EntityMapping,
    Mappings,
    OneTemplate,
    Restore,
    StandardMapping,
    Templates,
    Version,
    Versions,
)
from api.metrics import Metrics, Requests
from api.oauth import Manners, Token
from api.openapi.document import Site
from api.openapi.pages import documenting
from api.origins import Origins
from api.policy import DistrictPolicy
from api.previews import PATIENCE, Preview, Previews
from api.progress import Events
from api.proposals import Approve, Exclude, Reject, RunCsv, RunDiff, RunNdjson, RunPreview
from api.rates import Rates
from api.redis import Redis
from api.rekey import RekeyCsv, RekeyNdjson, RunRekey
from api.repeats import Receive, Repeats, Scope, Send
from api.rosters.collation import SortKeys
from api.rosters.lenses import Sights
from api.rosters.operations import OPERATIONS, OPERATIONS_1P1
from api.rosters.pages import Pages as RosterPages
from api.rosters.reading import Collection, Places, Reader, Single, shared
from api.schedules import Schedule, Schedules
from api.segments import Segments
from api.streams import Streams
from api.telling import Tell, teller
from api.timeline import Timeline
from api.tokens import Tokens
from api.uploads import Intake, Objects
from api.versions import Release, RosterVersion, RosterVersions, Undo
from api.webhooks import Rotate, Statistics, Trial, Webhook, Webhooks
from schemas.sealing import Seal
from schemas.secrets import Vault
from schemas.settings import Settings
from schemas.wall import Wall
from schemas.webhooks import SEALED_FOR
from workers.port import Ring

App: TypeAlias = "falcon.asgi.App[Request, Response]"
Routes: TypeAlias = dict[str, Guarded]


@dataclass(frozen=True, slots=True)
class Gateway:
    """The app, and the streams that a server tells when it is about to leave."""

    app: App
    streams: Streams


class Front(falcon.asgi.App[Request, Response]):
    """The app behind what needs not reach it."""

    def __init__(self, repeats: Repeats, middleware: list[Any]) -> None:
        self.repeats = repeats
        super().__init__(middleware=[repeats, *middleware])

    async def __call__(  # type: ignore[override]  # as Falcon's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif not await self.repeats.answered(scope, send):
            await super().__call__(scope, receive, self.repeats.noting(scope, send))


class Connections:
    """Middleware: the database opens first and closes last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def process_startup(self, _scope: object, _event: object) -> None:
        """Connect, or refuse an unsafe role."""
        await self._database.open()

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """Let go."""
        await self._database.close()


def create_gateway(
    settings: Settings, *, vault: Vault, database: Database, redis: Redis, ring: Ring
) -> Gateway:
    """The gateway with these collaborators."""
    bell, streams, requests = Bell(ring), Streams(redis), Requests()
    objects, book = Objects(settings.object_store), Book(database, requests.registry)
    rates = Rates(redis, requests.limited)
    tokens = Tokens(vault, settings.base, settings.token_lifetime)
    credentials = Credentials(database, vault, tokens)
    door = Door(credentials, Addresses(settings.proxies), rates, settings.rate_limit)
    answers = Answers(requests.observe, settings.base)
    pages, places = shared(vault, redis, settings.page_cache, requests.paged)
    app = Front(
        Repeats(door, pages, book, answers),
        [
            Connections(database),
            book,
            objects,
            bell,
            streams,
            answers,
            Audit(book),
            Limits(settings.query_max, settings.headers_max),
            Segments(),
            Cors(database),
            door,
        ],
    )
    app.req_options.keep_blank_qs_values = True  # `fields=` is wrong, not absent
    app.req_options.auto_parse_qs_csv = False  # a comma inside a filter is no list
    errors.install(app)
    routes = (
        operating(database, redis, requests)
        | administering(settings, vault, database, bell)
        | opening(settings, vault, database, tokens, rates)
        | importing(database, Intake(objects, settings.upload_max), bell, streams)
        | mapping(settings, database, bell)
        | managing(settings, database, bell, teller(redis))
        | reviewing(settings, database, bell, teller(redis))
        | remembering(database, bell)
        | exporting(settings, database, bell, streams, Files(vault, objects, teller(redis)))
        | erasing(settings, database, bell)
        | ringing(settings, vault, database, bell, streams)
        | reading(settings, database, Sights(vault), pages, places)
        | staying_in_step(settings, database, bell, streams, Packing(vault, objects, requests.fed))
        | auditing(database)
    )
    routes |= documenting(routes, site_of(settings))
    for path, resource in routes.items():
        app.add_route(path, resource)
    return Gateway(app, streams)


def operating(database: Database, redis: Redis, requests: Requests) -> Routes:
    """What keeps the process running."""
    return {
        "/health": Health(),
        "/health/live": Live(),
        "/health/ready": Ready(database, redis),
        "/metrics": Metrics(requests, database, redis),
    }


def administering(settings: Settings, vault: Vault, database: Database, bell: Bell) -> Routes:
    """Districts and their keys."""
    return {
        "/api/v1/districts": Districts(database, settings.json_max),
        "/api/v1/districts/{district_id}": District(database, bell),
        "/api/v1/keys": Keys(database, vault, settings.json_max),
        "/api/v1/keys/{key_id}": Key(database),
        "/api/v1/admin-keys": AdminKeys(database),
        "/api/v1/admin-keys/{key_id}": AdminKey(database),
    }


def opening(
    settings: Settings, vault: Vault, database: Database, tokens: Tokens, rates: Rates
) -> Routes:
    """The systems that read a district's roster, and how they get in."""
    one, json_max = "/api/v1/clients/{client_id}", settings.json_max
    manners = Manners(settings.rate_limit, settings.token_in_body, settings.token_refusal)
    return {
        errors.TOKEN: Token(database, vault, tokens, rates, manners),
        "/api/v1/clients": Clients(database, vault, settings.base + errors.TOKEN, json_max),
        one: OneClient(database, json_max),
        f"{one}/secrets": ClientSecrets(database, vault, json_max),
        f"{one}/secrets/{{secret_id}}": ClientSecret(database),
        f"{one}/keys": ClientKeys(database, vault, json_max),
        f"{one}/keys/{{key_id}}": ClientKey(database),
        f"{one}/lens": ClientLens(database, json_max),
        f"{one}/lens/explain": LensExplained(database, vault),
        "/api/v1/origins": Origins(database, json_max),
    }


def importing(database: Database, intake: Intake, bell: Bell, streams: Streams) -> Routes:
    """Packages in, and what became of them."""
    return {
        "/api/v1/imports": Imports(database, intake, bell),
        "/api/v1/imports/{run_id}": Import(database),
        "/api/v1/imports/{run_id}/findings": Findings(database),
        "/api/v1/imports/{run_id}/findings/groups": Groups(database),
        "/api/v1/imports/{run_id}/findings/rows": Rows(database),
        "/api/v1/imports/{run_id}/findings/summary": Summary(database),
        "/api/v1/imports/{run_id}/findings.csv": Csv(database),
        "/api/v1/imports/{run_id}/findings.ndjson": Ndjson(database),
        "/api/v1/imports/{run_id}/events": Events(database, streams),
    }


def managing(settings: Settings, database: Database, bell: Bell, tell: Tell) -> Routes:
    """What people decide about imports, before and after."""
    return {
        "/api/v1/policy": DistrictPolicy(database, settings.json_max),
        "/api/v1/imports/{run_id}/cancel": Cancel(database, tell),
        "/api/v1/imports/{run_id}/retry": Retry(database, bell),
    }


def reviewing(settings: Settings, database: Database, bell: Bell, tell: Tell) -> Routes:
    """What an import would change, and the answer to it."""
    run = "/api/v1/imports/{run_id}"
    return {
        f"{run}/preview": RunPreview(database),
        f"{run}/diff": RunDiff(database),
        f"{run}/diff.csv": RunCsv(database),
        f"{run}/diff.ndjson": RunNdjson(database),
        f"{run}/approve": Approve(database, bell, settings.json_max),
        f"{run}/rekey": RunRekey(database, bell, settings.json_max),
        f"{run}/rekey.csv": RekeyCsv(database),
        f"{run}/rekey.ndjson": RekeyNdjson(database),
        f"{run}/exclusions": Exclude(database, bell, settings.json_max),
        f"{run}/reject": Reject(database, tell),
        "/api/v1/aliases": Aliases(database),
    }


def mapping(settings: Settings, database: Database, bell: Bell) -> Routes:
    """How a district's own columns become those of OneRoster."""
    root, waiting = "/api/v1/mappings", (bell, settings.json_max, PATIENCE)
    one = EntityMapping(database, settings.json_max)
    return {
        root: Mappings(database),
        f"{root}/templates": Templates(),
        f"{root}/templates/{{template}}": OneTemplate(),
        f"{root}/lookups": Tables(database),
        f"{root}/lookups/{{name}}": Table(database, settings.json_max),
        f"{root}/previews/{{preview_id}}": Preview(database, *waiting),
        f"{root}/{{entity}}": one,
        f"{root}/{{entity}}/versions": Versions(database),
        f"{root}/{{entity}}/versions/{{version}}": Version(database),
        f"{root}/{{entity}}/versions/{{version}}/restore": Restore(database),
        f"{root}/{{entity}}/preview": Previews(database, *waiting),
        "/ims/oneroster/v1p2/mappings/{entity_type}": StandardMapping(one),
    }


@dataclass(frozen=True, slots=True)
class Files:
    """What exports need beside the others: keys for addresses, bytes, and who is told."""

    vault: Vault
    objects: Objects
    tell: Tell


def exporting(
    settings: Settings, database: Database, bell: Bell, streams: Streams, files: Files
) -> Routes:
    """Packages out: asked for, on schedule, or one file at once."""
    root, single = "/api/v1/exports", "/ims/oneroster/v1p2/csv/export/{entity}"
    one = f"{root}/{{export_id}}"
    return {
        root: Exports(database, bell, settings.json_max),
        one: Export(database),
        f"{one}/cancel": CancelExport(database, files.tell),
        f"{one}/download": DownloadAddress(database, files.vault, settings.base),
        f"{one}/events": ExportEvents(database, streams),
        "/api/v1/downloads/{ticket}": Download(database, files.vault, files.objects),
        "/api/v1/schedules": Schedules(database, settings.json_max),
        "/api/v1/schedules/{schedule_id}": Schedule(database, settings.json_max),
        single: CsvExport(database, files.vault),
        f"{single}/delta": CsvDelta(database, files.vault),
    }


def remembering(database: Database, bell: Bell) -> Routes:
    """What every import did, and the way back."""
    version = "/api/v1/versions/{version}"
    return {
        "/api/v1/versions": RosterVersions(database),
        version: RosterVersion(database),
        f"{version}/undo": Undo(database, bell),
        f"{version}/release": Release(database),
        f"{version}/diff": Diff(database),
        f"{version}/diff.csv": DiffCsv(database),
        f"{version}/diff.ndjson": DiffNdjson(database),
        "/api/v1/records/{entity}/{sourced_id}/timeline": Timeline(database),
    }


def erasing(settings: Settings, database: Database, bell: Bell) -> Routes:
    """The one way out for personal data."""
    return {
        "/api/v1/erasures": Erasures(database, bell, settings.json_max),
        "/api/v1/erasures/{erasure_id}": OneErasure(database),
        "/api/v1/erasures/{erasure_id}/release": ReleaseErased(database),
    }


def ringing(
    settings: Settings, vault: Vault, database: Database, bell: Bell, streams: Streams
) -> Routes:
    """What happens in a district, and who is rung for it."""
    one, with_bell = "/api/v1/webhooks/{webhook_id}", (database, bell, settings.json_max)
    wall, seal = Wall.of(settings.webhook_allow), Seal(vault, SEALED_FOR)
    return {
        "/api/v1/events": DistrictEvents(database, streams),
        "/api/v1/events/history": History(database),
        "/api/v1/webhooks": Webhooks(*with_bell, wall, seal),
        one: Webhook(*with_bell, wall),
        f"{one}/secret/rotate": Rotate(*with_bell, seal),
        f"{one}/test": Trial(*with_bell),
        f"{one}/statistics": Statistics(*with_bell),
        f"{one}/resend": ResendMany(*with_bell),
        f"{one}/deliveries": Deliveries(*with_bell),
        f"{one}/deliveries/{{delivery_id}}": Delivery(*with_bell),
        f"{one}/deliveries/{{delivery_id}}/resend": Resend(*with_bell),
    }


def reading(
    settings: Settings, database: Database, sights: Sights, pages: RosterPages, places: Places
) -> Routes:
    """The rosters, as the standard names them, and as its edition 1.1 does."""
    reader = Reader(
        database,
        SortKeys(database),
        settings.base,
        settings.page_default,
        settings.page_max,
        settings.query_timeout,
        sights,
        pages,
        places,
        settings.work_folder,
    )
    return {
        operation.route: (Single if operation.single else Collection)(operation, reader)
        for operation in (*OPERATIONS, *OPERATIONS_1P1)
    }


@dataclass(frozen=True, slots=True)
class Packing:
    """What packages of the feed need: keys for addresses, bytes, and who counts."""

    vault: Vault
    objects: Objects
    fed: Callable[[Source], None]


def staying_in_step(
    settings: Settings, database: Database, bell: Bell, streams: Streams, packing: Packing
) -> Routes:
    """What happened since, and the proof that nothing is missing."""
    base, vault = settings.base, packing.vault
    waiting = Waiting(database, streams)
    ahead = Ahead(database, packing.objects, base, packing.fed)
    feed = Feed(database, Cursors(vault), waiting, bell, Sights(vault), base, ahead)
    objects, pages = DeltaObjects(base), Pages()
    return {
        "/api/v1/deltas": Deltas(feed, objects, pages),
        "/api/v1/deltas.ndjson": DeltaLines(feed, objects, pages),
        "/api/v1/deltas/packages": DeltaPackages(feed, vault),
        "/api/v1/checksums": Checksums(feed),
    }


def auditing(database: Database) -> Routes:
    """Who read or changed what."""
    return {
        "/api/v1/audit": Entries(database),
        "/api/v1/audit.csv": AuditCsv(database),
        "/api/v1/audit.ndjson": AuditNdjson(database),
    }


def site_of(settings: Settings) -> Site:
    """What the documents say of this installation."""
    base = settings.base
    return Site(base, base + errors.TOKEN, settings.page_default, settings.page_max)
