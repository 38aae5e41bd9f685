"""The one error tree of Overseer.

Every error that a person or a program may meet is a class here, with a stable ``code``: the HTTP status,
the exit code of the command line and the documentation are found from the code. A message names the rule
that was broken and what to do next; it never holds a value of a secret.

::

    OverseerError
    ├── InvalidInput            invalid_input            422, exit 65   the request breaks a rule
    │   ├── TooLarge            too_large                413, exit 65   a size limit
    │   ├── ReferencesRefused   references_refused       422, exit 65   problems with a place in a file
    │   ├── UnsupportedMedia    unsupported_media        415, exit 65   a body that is not JSON
    │   ├── WrongMethod         wrong_method             405, exit 65   the path exists, the method does not
    │   ├── WrongHost           wrong_host               421, exit 65   a Host that this server does not answer to
    │   └── ForeignOrigin       foreign_origin           403, exit 65   a browser's request from another site
    ├── Unauthenticated         unauthenticated          401, exit 77   no or no live credential
    │   └── SecondFactorNeeded  second_factor_needed     401, exit 77   the password was right; a code is needed
    ├── Denied                  denied                   403, exit 77   the gate said no
    │   ├── ApprovalRequired    approval_required        403, exit 77   a second person has to agree first
    │   └── SecondFactorUnset   second_factor_unset      403, exit 77   a session that can only set up a second factor
    ├── Unavailable             unavailable              404, exit 66   does not exist, or not for this caller
    ├── Conflict                conflict                 409, exit 75   the state forbids it
    │   ├── AlreadyExists       already_exists           409, exit 75
    │   ├── AlreadyDone         already_done             409, exit 75   a replayed key whose answer is not kept
    │   ├── BatchRefused        batch_refused            409, exit 75   operations of a batch that the state forbids
    │   ├── InUse               in_use                   409, exit 75   something that is deployed needs it
    │   └── IdempotencyMismatch idempotency_mismatch     422, exit 65   same key, other request
    ├── PreconditionFailed      precondition_failed      412, exit 75   If-Match does not hold
    ├── RateLimited             rate_limited             429, exit 75
    ├── NotReady                not_ready                503, exit 69   try later; carries retry_after seconds
    │   ├── Sealed              sealed                   503, exit 69   no root key yet
    │   ├── StoreUnavailable    store_unavailable        503, exit 69   database down, slow or full
    │   ├── AuditUnavailable    audit_unavailable        503, exit 69   cannot audit, cannot serve
    │   ├── BackendUnavailable  backend_unavailable      503, exit 69   a backend is away, and what is kept is too old
    │   └── Unreachable         unreachable              503, exit 69   a client's own: no answer from the server
    ├── DecryptionFailed        decryption_failed        500, exit 70   an authentication tag did not verify
    ├── KeyProblem              key_problem              500, exit 78   wrong, missing or unreadable key
    ├── ConfigurationProblem    configuration_problem    500, exit 78   a setting is wrong
    ├── BackendRefused          backend_refused          502, exit 76   a backend said no, or not what it should
    └── NodeProblem             node_problem             502, exit 76   an agent, an engine or Compose failed

Exit codes follow ``sysexits.h``; RFC 9457 gives the HTTP form (``overseer.wire.problems``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of a complete list of problems.

    ``place`` is a field path (``body.name``) or ``file:line:column``; ``rule`` says what is wrong and what
    to do, never the value; ``code`` is a stable word for programs.
    """

    place: str
    rule: str
    code: str = "invalid"

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}" if self.place else self.rule


class OverseerError(Exception):
    """Base of all: ``message`` for people, ``problems`` the complete list, ``code`` for programs."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, problems: tuple[Problem, ...] | list[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems: tuple[Problem, ...] = tuple(problems)


class InvalidInput(OverseerError):
    """The request breaks a rule; nothing was changed."""

    code = "invalid_input"
    status = 422
    exit_code = 65


class TooLarge(InvalidInput):
    """A documented size limit was exceeded."""

    code = "too_large"
    status = 413


class ReferencesRefused(InvalidInput):
    """References in a bundle cannot be used; ``problems`` lists all of them with file, line and column."""

    code = "references_refused"


class UnsupportedMedia(InvalidInput):
    """The body's media type or coding is not plain JSON."""

    code = "unsupported_media"
    status = 415


class WrongMethod(InvalidInput):
    """The path exists; this method does not exist there."""

    code = "wrong_method"
    status = 405


class WrongHost(InvalidInput):
    """The Host header names none of this server's names (a defence against DNS rebinding)."""

    code = "wrong_host"
    status = 421


class ForeignOrigin(InvalidInput):
    """A browser sent a state-changing request on behalf of another site."""

    code = "foreign_origin"
    status = 403


class Unauthenticated(OverseerError):
    """No credential, or one that is unknown, expired, revoked or used from a foreign network."""

    code = "unauthenticated"
    status = 401
    exit_code = 77


class SecondFactorNeeded(Unauthenticated):
    """Name and password are right, and the user has a second factor: ask again, with a code."""

    code = "second_factor_needed"


class Denied(OverseerError):
    """The gate refused; the denial is in the audit log."""

    code = "denied"
    status = 403
    exit_code = 77


class ApprovalRequired(Denied):
    """A policy makes this wait for a second person; ``problems`` says how to ask, and which requests of the caller there are."""

    code = "approval_required"


class SecondFactorUnset(Denied):
    """The server requires a second factor and the user has none: this session can set one up and sign out, and nothing else."""

    code = "second_factor_unset"


class Unavailable(OverseerError):
    """It does not exist, or this caller may not know that it does: the two look the same."""

    code = "unavailable"
    status = 404
    exit_code = 66


class Conflict(OverseerError):
    """The present state forbids the change."""

    code = "conflict"
    status = 409
    exit_code = 75


class AlreadyExists(Conflict):
    """Something of that name is there already."""

    code = "already_exists"


class AlreadyDone(Conflict):
    """The idempotency key was used for a request whose answer is never kept (a token shown once)."""

    code = "already_done"


class CredentialChanging(Conflict):
    """A rotation is changing the credential at its source just now: no version becomes the active one meanwhile."""

    code = "credential_changing"


class BatchRefused(Conflict):
    """The present state forbids operations of a batch; ``problems`` lists each of them, and nothing was changed."""

    code = "batch_refused"


class InUse(Conflict):
    """Something that is deployed uses it; ``problems`` lists what the caller may see of that."""

    code = "in_use"


class IdempotencyMismatch(Conflict):
    """The idempotency key was used for another request."""

    code = "idempotency_mismatch"
    status = 422
    exit_code = 65


class PreconditionFailed(OverseerError):
    """The version named by ``If-Match`` is not the current one; ``current_version`` is."""

    code = "precondition_failed"
    status = 412
    exit_code = 75

    def __init__(self, message: str, *, current_version: int) -> None:
        super().__init__(message)
        self.current_version = current_version


class RateLimited(OverseerError):
    """Too many requests; try again after ``retry_after`` seconds."""

    code = "rate_limited"
    status = 429
    exit_code = 75

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(OverseerError):
    """Nothing is wrong with the request; try again after ``retry_after`` seconds."""

    code = "not_ready"
    status = 503
    exit_code = 69

    def __init__(self, message: str, *, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Sealed(NotReady):
    """The server has no root key yet."""

    code = "sealed"


class StoreUnavailable(NotReady):
    """The database is down, slow, full or failing over."""

    code = "store_unavailable"


class AuditUnavailable(NotReady):
    """The audit row could not be committed, so nothing was released."""

    code = "audit_unavailable"


class BackendUnavailable(NotReady):
    """A backend does not answer, and what was taken from it earlier is too old to be given."""

    code = "backend_unavailable"


class Unreachable(NotReady):
    """No answer came from the server; raised by clients, never sent by a server. What was asked may have been done."""

    code = "unreachable"


class DecryptionFailed(OverseerError):
    """An authentication tag did not verify: the row was changed, moved, or belongs to another instance."""

    code = "decryption_failed"


class KeyProblem(OverseerError):
    """A key is wrong, missing, unreadable or used up; nothing was written."""

    code = "key_problem"
    exit_code = 78


class ConfigurationProblem(OverseerError):
    """A setting is wrong; the message names the setting, never its value."""

    code = "configuration_problem"
    exit_code = 78


class BackendRefused(OverseerError):
    """A backend refused, does not know the reference, or is not what it should be: somebody has to mend that."""

    code = "backend_refused"
    status = 502
    exit_code = 76


class NodeProblem(OverseerError):
    """An agent, its engine or Compose failed; output is redacted before it gets here."""

    code = "node_problem"
    status = 502
    exit_code = 76


def error_classes() -> tuple[type[OverseerError], ...]:
    """Every class of the tree, parents first, in the order of the drawing above."""
    found: list[type[OverseerError]] = []

    def walk(cls: type[OverseerError]) -> None:
        found.append(cls)
        for sub in cls.__subclasses__():
            walk(sub)

    walk(OverseerError)
    return tuple(found)
