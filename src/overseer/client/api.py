"""The Python client: ``Client`` and its nouns.

    with Client() as overseer:     # from OVERSEER_URL, OVERSEER_TOKEN, OVERSEER_CA_FILE, else from `overseer login`
        secret = overseer.secrets.find("db-password", Scope(app="shop"))
        password = overseer.secrets.reveal(secret.id).value.reveal()

Answers are the messages of ``overseer.wire``; failures are the errors of ``overseer.core.errors``. Lists are iterators.
A client belongs to one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from overseer.client.addresses import DEFAULT_URL, as_text
from overseer.client.http import USER_AGENT, HttpClient
from overseer.client.login_store import load_login
from overseer.client.retries import RetryingClient, RetryPolicy
from overseer.core.errors import ConfigurationProblem, Unauthenticated
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:  # each noun is imported when it is first used: a command starts in a fraction of the time
    from overseer.client.access import ServiceAccounts, Tokens
    from overseer.client.approvals import ApprovalPolicies, Approvals
    from overseer.client.audit_log import AuditLog
    from overseer.client.backends import Backends
    from overseer.client.backups import Backups
    from overseer.client.deployments import Deployments
    from overseer.client.grants import Access, Bindings, Groups, Roles
    from overseer.client.imports import Imports
    from overseer.client.keys import Keys
    from overseer.client.migrations import Migrations
    from overseer.client.people import Account, SignInRoutes, Users
    from overseer.client.rollouts import Rollouts
    from overseer.client.rotations import Rotations
    from overseer.client.scopes import Apps, Environments, Nodes
    from overseer.client.secrets import Secrets
    from overseer.client.usage import Usage
    from overseer.wire.access import MeView
    from overseer.wire.audit import AuditView
    from overseer.wire.seal import Health, SealStatus, Unseal


class Client:
    """A connection to a server. What is not given comes from the environment, then from the stored login.

    A stored token is only ever used with the URL it was stored with.
    """

    def __init__(
        self,
        url: str | None = None,
        token: SecretValue | str | None = None,
        ca_file: str | Path | None = None,
        *,
        user_agent: str = USER_AGENT,
        timeout: float = 30.0,
        retry_policy: RetryPolicy | None = None,
        need_token: bool = True,
    ) -> None:
        url = url or os.environ.get("OVERSEER_URL") or None
        ca_file = ca_file or os.environ.get("OVERSEER_CA_FILE") or None
        token = token or os.environ.get("OVERSEER_TOKEN")
        if token == "" and need_token:
            # A job whose variable is missing must not run with the rights of whoever logged in on that machine.
            raise ConfigurationProblem("OVERSEER_TOKEN is set and empty: give it a token, or unset it to use 'overseer login'")
        token = token or None
        if token is None and need_token:
            login = load_login()
            if login is not None and url in (None, login.url):
                url, token, ca_file = login.url, login.token, ca_file or login.ca_file
        if token is None and need_token:
            raise Unauthenticated(
                f"no token for {url or DEFAULT_URL}: run 'overseer login' or set OVERSEER_TOKEN "
                "(the owner's first token is in the file owner-token of the server's data directory)"
            )
        self.http = HttpClient(
            url or DEFAULT_URL,
            SecretValue(token) if isinstance(token, str) else token,
            ca_file=ca_file,
            user_agent=user_agent,
            timeout=timeout,
        )
        self._retrying = RetryingClient(self.http, retry_policy or RetryPolicy())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    @property
    def url(self) -> str:
        """All addresses of the server, as OVERSEER_URL takes them."""
        return as_text(self.http.addresses)

    @cached_property
    def secrets(self) -> Secrets:
        from overseer.client.secrets import Secrets

        return Secrets(self._retrying)

    @cached_property
    def apps(self) -> Apps:
        from overseer.client.scopes import Apps

        return Apps(self._retrying)

    @cached_property
    def environments(self) -> Environments:
        from overseer.client.scopes import Environments

        return Environments(self._retrying)

    @cached_property
    def nodes(self) -> Nodes:
        from overseer.client.scopes import Nodes

        return Nodes(self._retrying)

    @cached_property
    def service_accounts(self) -> ServiceAccounts:
        from overseer.client.access import ServiceAccounts

        return ServiceAccounts(self._retrying)

    @cached_property
    def tokens(self) -> Tokens:
        from overseer.client.access import Tokens

        return Tokens(self._retrying)

    @cached_property
    def roles(self) -> Roles:
        from overseer.client.grants import Roles

        return Roles(self._retrying)

    @cached_property
    def groups(self) -> Groups:
        from overseer.client.grants import Groups

        return Groups(self._retrying)

    @cached_property
    def access(self) -> Access:
        from overseer.client.grants import Access

        return Access(self._retrying)

    @cached_property
    def approvals(self) -> Approvals:
        from overseer.client.approvals import Approvals

        return Approvals(self._retrying)

    @cached_property
    def approval_policies(self) -> ApprovalPolicies:
        from overseer.client.approvals import ApprovalPolicies

        return ApprovalPolicies(self._retrying)

    @cached_property
    def bindings(self) -> Bindings:
        from overseer.client.grants import Bindings

        return Bindings(self._retrying)

    @cached_property
    def users(self) -> Users:
        from overseer.client.people import Users

        return Users(self._retrying)

    @cached_property
    def account(self) -> Account:
        from overseer.client.people import Account

        return Account(self._retrying)

    @cached_property
    def sign_in(self) -> SignInRoutes:
        from overseer.client.people import SignInRoutes

        return SignInRoutes(self._retrying)

    @cached_property
    def deployments(self) -> Deployments:
        from overseer.client.deployments import Deployments

        return Deployments(self._retrying)

    @cached_property
    def rollouts(self) -> Rollouts:
        from overseer.client.rollouts import Rollouts

        return Rollouts(self._retrying)

    @cached_property
    def backends(self) -> Backends:
        from overseer.client.backends import Backends

        return Backends(self._retrying)

    @cached_property
    def rotations(self) -> Rotations:
        from overseer.client.rotations import Rotations

        return Rotations(self._retrying)

    @cached_property
    def backups(self) -> Backups:
        from overseer.client.backups import Backups

        return Backups(self._retrying)

    @cached_property
    def imports(self) -> Imports:
        from overseer.client.imports import Imports

        return Imports(self._retrying)

    @cached_property
    def migrations(self) -> Migrations:
        from overseer.client.migrations import Migrations

        return Migrations(self._retrying)

    @cached_property
    def keys(self) -> Keys:
        from overseer.client.keys import Keys

        return Keys(self._retrying)

    @cached_property
    def usage(self) -> Usage:
        from overseer.client.usage import Usage

        return Usage(self._retrying)

    def me(self) -> MeView:
        """Who the token speaks for and what it may do."""
        from overseer.wire.access import MeView

        return self._retrying.request("GET", "/api/me", returns=MeView).value

    @cached_property
    def audit_log(self) -> AuditLog:
        from overseer.client.audit_log import AuditLog

        return AuditLog(self._retrying)

    def audit(self, *, limit: int = 100, **filters: str | None) -> Iterator[AuditView]:
        """The audit log, newest first, ``limit`` rows a page.

        Filters: actor, action, outcome, request_id, resource, app, since, until (RFC 3339).
        """
        from overseer.client.pages import every
        from overseer.wire.audit import AuditView
        from overseer.wire.messages import Page

        return every(self._retrying, "/api/audit", Page[AuditView], {**filters, "limit": limit})

    def seal_status(self) -> SealStatus:
        from overseer.wire.seal import SealStatus

        return self._retrying.request("GET", "/api/seal", returns=SealStatus).value

    def unseal(self, passphrase: SecretValue) -> SealStatus:
        """Give the passphrase of the seal; it is not repeated on failure."""
        from overseer.wire.seal import Unseal

        return self._unseal(Unseal(passphrase=passphrase.reveal().decode("utf-8")))

    def give_share(self, share: SecretValue, *, anew: bool = False) -> SealStatus:
        """Give one share of the seal; ``anew``: the shares that were given before are forgotten. Not repeated on failure."""
        from overseer.wire.seal import Unseal

        return self._unseal(Unseal(share=share.reveal().decode("utf-8"), anew=anew))

    def _unseal(self, body: Unseal) -> SealStatus:
        from overseer.wire.seal import SealStatus

        return self.http.request("POST", "/api/seal/unseal", body, returns=SealStatus).value

    def health(self) -> Health:
        """Whether the server is ready, and which part is not; one attempt, without a token."""
        from overseer.wire.seal import Health

        return self.http.request("GET", "/health/ready", returns=Health, also=frozenset({503})).value
