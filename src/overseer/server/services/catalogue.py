"""Every service of a server process, made once by the composition and handed to the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from overseer.server.services.access_service import AccessService
from overseer.server.services.agent_service import AgentService
from overseer.server.services.approval_service import ApprovalService
from overseer.server.services.audit_log_service import AuditLogService
from overseer.server.services.audit_retention import AuditRetention
from overseer.server.services.audit_sealer import AuditSealer
from overseer.server.services.audit_self_check import AuditSelfCheck
from overseer.server.services.audit_service import AuditService
from overseer.server.services.audit_sinks import AuditSinks
from overseer.server.services.backend_service import BackendService
from overseer.server.services.backup_schedule import BackupSchedule
from overseer.server.services.backup_service import BackupService
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.ci_service import CiService
from overseer.server.services.compromise_service import CompromiseService
from overseer.server.services.deployment_service import DeploymentService
from overseer.server.services.drift_service import DriftService
from overseer.server.services.enrolment_service import EnrolmentService
from overseer.server.services.export_service import ExportService
from overseer.server.services.housekeeping import Housekeeping
from overseer.server.services.identity_service import IdentityService
from overseer.server.services.import_service import ImportService
from overseer.server.services.key_rotation import KeyRotation
from overseer.server.services.key_service import KeyService
from overseer.server.services.key_verification import KeyVerifier
from overseer.server.services.live_import_service import LiveImportService
from overseer.server.services.metrics_service import MetricsService
from overseer.server.services.migration_export import MigrationExports
from overseer.server.services.migration_import import MigrationImports
from overseer.server.services.node_service import NodeService
from overseer.server.services.oidc_service import OidcService
from overseer.server.services.own_account_service import OwnAccountService
from overseer.server.services.people_housekeeping import PeopleHousekeeping
from overseer.server.services.plan_service import PlanService
from overseer.server.services.resolve_service import ResolveService
from overseer.server.services.rollout_service import RolloutService
from overseer.server.services.rotation_driver import RotationDriver
from overseer.server.services.rotation_service import RotationService
from overseer.server.services.scope_service import ScopeService
from overseer.server.services.seal_service import SealService
from overseer.server.services.secret_service import SecretService
from overseer.server.services.secret_sourcing import SecretSourcing
from overseer.server.services.session_service import SessionService
from overseer.server.services.sign_in_service import SignInService
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.usage_service import UsageService
from overseer.server.services.user_service import UserService
from overseer.wire.seal import Health


class Readiness(Protocol):
    """Whether this process can serve requests now."""

    async def check(self) -> Health:
        """``ok``, ``sealed`` or ``unavailable``, with a word for each part; never raises."""


@dataclass(frozen=True, slots=True)
class Services:
    """The public services; each method takes the caller and passes the gate."""

    secrets: SecretService
    resolve: ResolveService
    imports: ImportService
    live_imports: LiveImportService
    exports: ExportService
    migration_exports: MigrationExports
    migration_imports: MigrationImports
    scopes: ScopeService
    nodes: NodeService
    enrolment: EnrolmentService
    identity: IdentityService
    access: AccessService
    approvals: ApprovalService
    users: UserService
    sign_in: SignInService
    account: OwnAccountService
    sessions: SessionService
    people_housekeeping: PeopleHousekeeping
    oidc: OidcService
    ci: CiService
    audit: AuditService
    audit_log: AuditLogService
    audit_sealer: AuditSealer
    audit_self_check: AuditSelfCheck
    audit_retention: AuditRetention
    audit_sinks: AuditSinks
    backends: BackendService
    sourcing: SecretSourcing
    source_refresh: SourceRefresh
    bundles: BundleService
    deployments: DeploymentService
    plans: PlanService
    agents: AgentService
    rollouts: RolloutService
    rotations: RotationService
    rotation_driver: RotationDriver
    usage: UsageService
    drift: DriftService
    compromise: CompromiseService
    seal: SealService
    keys: KeyService
    key_rotation: KeyRotation
    key_verifier: KeyVerifier
    backups: BackupService
    backup_schedule: BackupSchedule
    health: Readiness
    metrics: MetricsService
    housekeeping: Housekeeping
