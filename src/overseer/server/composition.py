"""The one place that wires a server process: settings in, an application with its services out.

Nothing here talks to the database: the pool connects with the first request, so a process starts while its database is down and
recovers without a restart. What runs beside the requests (the jobs of the leader, writing down last uses of tokens and counted
denials) ends here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import ConfigurationProblem, KeyProblem, OverseerError
from overseer.crypto.certificates import certificates_in, spki_hash
from overseer.server import measures
from overseer.server.address_rules import AddressRule
from overseer.server.api.application import application
from overseer.server.api.endpoint import Edge
from overseer.server.api.front import App
from overseer.server.api.request_limits import Limits, RequestLimits
from overseer.server.api.throttle import Throttle
from overseer.server.backend_settings import BACKEND_ADDRESS, address_rules
from overseer.server.backup_settings import BACKUP
from overseer.server.health import ServerHealth
from overseer.server.scheduler import Job, Scheduler
from overseer.server.seals.selection import make_seal
from overseer.server.services.access_service import AccessService
from overseer.server.services.agent_service import AgentService
from overseer.server.services.approval_service import ApprovalService
from overseer.server.services.audit_log_service import AuditLogService
from overseer.server.services.audit_retention import AuditRetention
from overseer.server.services.audit_sealer import AuditSealer
from overseer.server.services.audit_self_check import AuditSelfCheck
from overseer.server.services.audit_service import AuditService
from overseer.server.services.audit_sinks import AuditSinks
from overseer.server.services.backend_calls import BackendCalls
from overseer.server.services.backend_service import BackendService
from overseer.server.services.backup_schedule import BackupSchedule
from overseer.server.services.backup_service import BackupService
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.catalogue import Services
from overseer.server.services.ci_service import CiService
from overseer.server.services.compromise_service import CompromiseService
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.deployment_service import DeploymentService
from overseer.server.services.drift_service import DriftService
from overseer.server.services.enrolment_service import EnrolmentService
from overseer.server.services.export_service import ExportService
from overseer.server.services.gate import Gate
from overseer.server.services.housekeeping import Housekeeping
from overseer.server.services.idempotency import IdempotencyKeeper
from overseer.server.services.identity_service import IdentityService
from overseer.server.services.import_service import ImportService
from overseer.server.services.import_storing import ImportStoring
from overseer.server.services.key_limits import KeyLimits
from overseer.server.services.key_rotation import KeyRotation
from overseer.server.services.key_service import KeyService
from overseer.server.services.key_verification import KeyVerifier
from overseer.server.services.leader_watch import LOOK_SECONDS, LeaderWatch
from overseer.server.services.live_import_service import LiveImportService
from overseer.server.services.metrics_service import MetricsService
from overseer.server.services.migration_comparison import MigrationComparisons
from overseer.server.services.migration_export import MigrationExports
from overseer.server.services.migration_import import MigrationImports
from overseer.server.services.node_service import NodeService
from overseer.server.services.oidc_service import OidcService
from overseer.server.services.own_account_service import OwnAccountService
from overseer.server.services.password_work import PasswordWork
from overseer.server.services.people_housekeeping import EVERY_SECONDS, PeopleHousekeeping
from overseer.server.services.plan_service import PlanService
from overseer.server.services.resolve_batches import ResolveBatches
from overseer.server.services.resolve_service import ResolveService
from overseer.server.services.reveal_batches import RevealBatches
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rollout_service import RolloutService
from overseer.server.services.rotation_credentials import RotationCredentials
from overseer.server.services.rotation_driver import RotationDriver
from overseer.server.services.rotation_service import RotationService
from overseer.server.services.rotation_steps import RotationSteps
from overseer.server.services.scope_service import ScopeService
from overseer.server.services.seal_service import SealService, Unsealed
from overseer.server.services.seal_succession import SealSuccession
from overseer.server.services.second_factors import SecondFactors
from overseer.server.services.secret_service import SecretService
from overseer.server.services.secret_sourcing import SecretSourcing
from overseer.server.services.session_making import SessionRules
from overseer.server.services.session_service import SessionService
from overseer.server.services.share_collection import LocalShares, ShareCollector
from overseer.server.services.sign_in_service import SignInService
from overseer.server.services.sign_in_tries import SignInTries
from overseer.server.services.source_refresh import SYNC_SECONDS, SourceRefresh
from overseer.server.services.usage_service import UsageService
from overseer.server.services.user_service import UserService
from overseer.server.services.value_making import ValueMaking
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal
from overseer.server.settings import Settings
from overseer.server.sign_in_settings import CI, OIDC
from overseer.server.sink_settings import SINK
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.service_session import session_setup
from overseer.server.web.catalogue import PAGES
from overseer.server.web.endpoint import page_routes

FLUSH_SECONDS: Final = 10.0
MEASURE_SECONDS: Final = 2.0
HOUSEKEEPING_SECONDS: Final = 5.0
ROTATION_SECONDS: Final = 5.0
SEALING_SECONDS: Final = 0.5
SELF_CHECK_SECONDS: Final = 10.0
RETENTION_SECONDS: Final = 600.0
SEEN_SECONDS: Final = 30.0
SINK_SECONDS: Final = 1.0
KEY_ROTATION_SECONDS: Final = 2.0
BACKUP_SECONDS: Final = 3.0
_LOG: Final = logging.getLogger("overseer.server")


@dataclass(frozen=True, slots=True)
class Composed:
    """A wired process: ``app`` is ASGI, ``keys`` waits for the root key, setting ``draining`` ends long polls."""

    app: App
    keys: KeyService
    services: Services
    draining: asyncio.Event
    succession: SealSuccession


@asynccontextmanager
async def composed(
    settings: Settings, *, on_unsealed: Unsealed, shares: ShareCollector | None = None
) -> AsyncIterator[Composed]:
    """Wire everything for ``settings`` (with a ``database_url``) and take it down again at the end of the block.

    ``on_unsealed`` gets the root key after an unseal over the API, and after a change of the seal; ``shares`` is where shares
    are gathered (this process alone unless given). Raises :class:`ConfigurationProblem`.
    """
    if settings.database_url is None:
        raise ConfigurationProblem("OVERSEER_DATABASE_URL is not known: the supervisor starts the embedded database")
    database = Database(service_arguments(settings.database_url), setup=session_setup)
    limits = DenialLimits()
    gate = Gate(database, limits)
    draining = asyncio.Event()
    services = wire_services(settings, database, gate, limits, on_unsealed, draining, shares)
    edge = Edge(
        services=services,
        sealed=lambda: services.keys.sealed,
        secure_cookies=settings.secure_cookies,
        throttle=Throttle(per_second=settings.limit_failures, holders=gate.holders),
        limits=RequestLimits(Limits(settings.limit_in_flight, settings.limit_requests)),
        draining=draining,
    )
    app = application(
        edge,
        allowed_hosts=(settings.host, *settings.allowed_hosts),
        trusted_proxies=settings.trusted_proxies,
        extra=page_routes(PAGES, edge),
    )
    scheduler = Scheduler(database, leader_jobs(services), sealed=lambda: services.keys.sealed, stopping=draining)
    succession = SealSuccession(database, services.keys, on_unsealed)
    beside = [asyncio.create_task(work) for work in (_keep_flushing(gate), scheduler.run(), succession.run())]
    beside.append(asyncio.create_task(_keep_measuring(database, services.keys, scheduler)))
    beside.append(asyncio.create_task(_keep_looking(LeaderWatch(database, gate))))
    try:
        yield Composed(app, services.keys, services, draining, succession)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        with contextlib.suppress(OverseerError):
            await gate.flush()
        await database.close()


def wire_services(
    settings: Settings,
    database: Database,
    gate: Gate,
    limits: DenialLimits,
    on_unsealed: Unsealed,
    draining: asyncio.Event,
    shares: ShareCollector | None = None,
) -> Services:
    """Every service over one database and one gate."""
    key_limits = KeyLimits.of(settings.key_max_age_days, settings.key_max_uses)
    keys = KeyService(database, gate, key_limits)
    idempotency = IdempotencyKeeper(keys)
    opener = ValueOpener(keys, gate)
    bundles = BundleService(gate, keys, idempotency)
    signal = WorkSignal()
    rollouts = RolloutDriver(gate, signal)
    rotators = AddressRule.parse(settings.rotator_networks, "OVERSEER_ROTATOR_NETWORKS")
    calls = BackendCalls(keys, address_rules(BACKEND_ADDRESS.read(settings.tables)))
    sources = SourceRefresh(gate, keys, calls, rollouts)
    tries, passwords, factors = SignInTries(keys), PasswordWork(), SecondFactors(keys)
    backup_targets = BACKUP.read(settings.tables)
    session_rules = SessionRules(
        settings.session_hours * 3600, settings.session_idle_minutes * 60, settings.second_factor == "required"
    )
    secrets = SecretService(gate, keys, idempotency, opener, rollouts, RevealBatches(database, gate), sources)
    return Services(
        secrets=secrets,
        imports=ImportService(gate, keys, ImportStoring(gate, opener, secrets, idempotency)),
        live_imports=LiveImportService(gate, calls, ImportStoring(gate, opener, secrets, idempotency)),
        exports=ExportService(gate, keys, opener, sources),
        migration_exports=MigrationExports(gate, keys, opener, sources),
        migration_imports=MigrationImports(gate, keys, MigrationComparisons(gate, opener)),
        resolve=ResolveService(gate, keys, opener, ResolveBatches(database, gate), sources),
        backends=BackendService(gate, keys, idempotency, calls),
        sourcing=SecretSourcing(gate, keys, idempotency, calls, sources),
        source_refresh=sources,
        scopes=ScopeService(gate, idempotency),
        nodes=NodeService(gate, keys, idempotency, pinned_ca(settings)),
        enrolment=EnrolmentService(gate, keys),
        identity=IdentityService(gate, idempotency),
        access=AccessService(gate),
        approvals=ApprovalService(gate, idempotency),
        users=UserService(gate, idempotency),
        sign_in=SignInService(gate, tries, passwords, factors, session_rules, limits),
        account=OwnAccountService(gate, keys, tries, passwords, factors, session_rules),
        sessions=SessionService(gate),
        people_housekeeping=PeopleHousekeeping(gate),
        oidc=OidcService(gate, keys, OIDC.read(settings.tables), session_rules),
        ci=CiService(gate, CI.read(settings.tables)),
        audit=AuditService(gate),
        audit_log=AuditLogService(gate, keys, idempotency),
        audit_sealer=AuditSealer(database, keys),
        audit_self_check=AuditSelfCheck(database, keys),
        audit_retention=AuditRetention(gate, keys, settings.audit_days),
        audit_sinks=AuditSinks(gate, keys, SINK.read(settings.tables)),
        bundles=bundles,
        deployments=DeploymentService(gate, bundles, opener, idempotency, signal, sources),
        plans=PlanService(gate, keys, bundles, opener),
        agents=AgentService(gate, keys, opener, bundles, signal, rollouts),
        rollouts=RolloutService(gate, rollouts),
        rotations=RotationService(gate, rotators),
        rotation_driver=RotationDriver(
            gate,
            RotationSteps(
                gate, keys, ValueMaking(gate, opener), rollouts, RotationCredentials(gate, keys, sources), rotators
            ),
        ),
        usage=UsageService(gate),
        drift=DriftService(gate, keys, opener),
        compromise=CompromiseService(gate),
        seal=SealService(database, gate, keys, make_seal(settings.seal).kind, on_unsealed, limits, shares or LocalShares()),
        keys=keys,
        key_rotation=KeyRotation(gate, keys, idempotency, key_limits),
        key_verifier=KeyVerifier(gate, keys),
        backups=BackupService(gate, idempotency, backup_targets),
        backup_schedule=BackupSchedule(gate, keys, settings.database_url or "", backup_targets),
        health=ServerHealth(database, sealed=lambda: keys.sealed, draining=draining.is_set),
        metrics=MetricsService(gate, settings.metrics),
        housekeeping=Housekeeping(gate, rollouts),
    )


def leader_jobs(services: Services) -> tuple[Job, ...]:
    """What the leader does by itself; a feature with work of its own adds its line here."""
    return (
        Job("housekeeping", HOUSEKEEPING_SECONDS, services.housekeeping.run),
        Job("rotation", ROTATION_SECONDS, services.rotation_driver.run),
        Job("audit sealer", SEALING_SECONDS, services.audit_sealer.run),
        Job("audit self-check", SELF_CHECK_SECONDS, services.audit_self_check.run),
        Job("audit summary", SEEN_SECONDS, services.audit_retention.fold),
        Job("audit retention", RETENTION_SECONDS, services.audit_retention.run),
        *(Job(f"audit sink {sink.name}", SINK_SECONDS, sink.run) for sink in services.audit_sinks.sinks),
        Job("people housekeeping", EVERY_SECONDS, services.people_housekeeping.run),
        Job("key rotation", KEY_ROTATION_SECONDS, services.key_rotation.run),
        Job("backups", BACKUP_SECONDS, services.backup_schedule.run),
        Job("backend sync", SYNC_SECONDS, services.source_refresh.run),
    )


def pinned_ca(settings: Settings) -> bytes | None:
    """What enrolment tokens pin: the key of the last certificate of OVERSEER_PROXY_CA, else in the TLS chain file (put the CA
    there); None without either.
    """
    name, path = ("OVERSEER_PROXY_CA", settings.proxy_ca) if settings.proxy_ca else ("OVERSEER_TLS_CERT", settings.tls_cert)
    if path is None:
        return None
    try:
        return spki_hash(certificates_in(path.read_bytes())[-1])
    except (OSError, KeyProblem):
        raise ConfigurationProblem(f"{name} holds no readable certificate") from None


async def _keep_measuring(database: Database, keys: KeyService, scheduler: Scheduler) -> None:
    while True:
        size, idle = database.connections
        measures.CONNECTIONS.labels("open").set(size)
        measures.CONNECTIONS.labels("idle").set(idle)
        measures.SEALED.set(keys.sealed)
        measures.LEADING.set(scheduler.leading)
        await asyncio.sleep(MEASURE_SECONDS)


async def _keep_looking(watch: LeaderWatch) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await watch.look()
        except OverseerError as error:
            _LOG.warning("it is not known whether a server leads: %s", error.code)


async def _keep_flushing(gate: Gate) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            await gate.flush()
        except OverseerError as error:
            _LOG.warning("last uses of tokens could not be written down: %s", error.code)
