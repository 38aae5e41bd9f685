"""Users, sessions, one's own account, and the ways to sign in, over the API."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from overseer.client.pages import every
from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.errors import Unavailable
from overseer.core.secret_value import SecretValue
from overseer.wire.messages import Page
from overseer.wire.people import (
    ExternalIdentity,
    InvitationAccept,
    InvitationCreated,
    PasswordChange,
    PasswordProof,
    RecoveryCodes,
    SecondFactorProof,
    SessionCreated,
    SessionRenewed,
    SessionsEnded,
    SessionView,
    SignIn,
    TotpCode,
    TotpStarted,
    UserCreate,
    UserPatch,
    UserReset,
    UserView,
)
from overseer.wire.sign_in import ExchangedToken, OidcBegin, OidcBegun, OidcFinish, ProviderView, TokenExchange


class Users:
    """``/api/users``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def create(self, name: str, description: str = "") -> UserView:
        body = UserCreate(name=name, description=description)
        headers = {IDEMPOTENCY_KEY: uuid4().hex}
        return self._http.request("POST", "/api/users", body, returns=UserView, headers=headers).value

    def list(self) -> Iterator[UserView]:
        return every(self._http, "/api/users", Page[UserView], {})

    def find(self, name: str) -> UserView:
        """By name, without regard to case; :class:`Unavailable` where there is none."""
        found = next((view for view in self.list() if view.name.lower() == name.lower()), None)
        if found is None:
            raise Unavailable(f"there is no user {name}, or you may not list users")
        return found

    def get(self, user_id: str) -> UserView:
        return self._http.request("GET", f"/api/users/{user_id}", returns=UserView).value

    def patch(self, user_id: str, description: str) -> UserView:
        """Another description."""
        body = UserPatch(description=description)
        return self._http.request("PATCH", f"/api/users/{user_id}", body, returns=UserView).value

    def disable(self, user_id: str) -> UserView:
        """Its tokens and sessions end for good."""
        return self._http.request("POST", f"/api/users/{user_id}/disable", returns=UserView).value

    def enable(self, user_id: str) -> UserView:
        return self._http.request("POST", f"/api/users/{user_id}/enable", returns=UserView).value

    def delete(self, user_id: str) -> None:
        """With its tokens, sessions and bindings."""
        self._http.request("DELETE", f"/api/users/{user_id}")

    def reset(self, user_id: str, *, second_factor: bool = False, expires_in: int = 3 * 86400) -> InvitationCreated:
        """An invitation to set a password, live for ``expires_in`` seconds; the old password and all sessions end now."""
        body = UserReset(second_factor=second_factor, expires_in=expires_in)
        return self._http.request("POST", f"/api/users/{user_id}/reset", body, returns=InvitationCreated).value

    def link(self, user_id: str, issuer: str, subject: str) -> UserView:
        """Let a provider's subject sign in as this user."""
        body = ExternalIdentity(issuer=issuer, subject=subject)
        return self._http.request("POST", f"/api/users/{user_id}/identities", body, returns=UserView).value

    def unlink(self, user_id: str, issuer: str, subject: str) -> UserView:
        body = ExternalIdentity(issuer=issuer, subject=subject)
        return self._http.request("POST", f"/api/users/{user_id}/identities/remove", body, returns=UserView).value

    def sessions(self, user_id: str) -> Iterator[SessionView]:
        """Live ones, newest first."""
        return every(self._http, f"/api/users/{user_id}/sessions", Page[SessionView], {})

    def end_sessions(self, user_id: str) -> int:
        """All of them; how many there were."""
        return self._http.request("DELETE", f"/api/users/{user_id}/sessions", returns=SessionsEnded).value.ended


class Account:
    """Your own account and sessions: ``/api/me`` and ``/api/sessions``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def sessions(self) -> Iterator[SessionView]:
        """Your live ones, newest first."""
        return every(self._http, "/api/sessions", Page[SessionView], {})

    def end_session(self, session_id: str) -> None:
        self._http.request("DELETE", f"/api/sessions/{session_id}")

    def sign_out(self) -> None:
        """End the session that this client uses."""
        self._http.request("POST", "/api/auth/sign-out")

    def change_password(self, current: SecretValue, new: SecretValue) -> SessionRenewed:
        """Your other sessions end; use the answer's session from now on."""
        body = PasswordChange(current=_text(current), password=_text(new))
        return self._http.request("POST", "/api/me/password", body, returns=SessionRenewed).value

    def start_totp(self, password: SecretValue) -> TotpStarted:
        """A second factor that is in force after :meth:`confirm_totp`."""
        return self._http.request("POST", "/api/me/totp", PasswordProof(password=_text(password)), returns=TotpStarted).value

    def confirm_totp(self, code: SecretValue) -> RecoveryCodes:
        return self._http.request("POST", "/api/me/totp/confirm", TotpCode(code=_text(code)), returns=RecoveryCodes).value

    def remove_totp(self, password: SecretValue, code: SecretValue) -> SessionRenewed:
        body = SecondFactorProof(password=_text(password), code=_text(code))
        return self._http.request("POST", "/api/me/totp/remove", body, returns=SessionRenewed).value

    def renew_recovery_codes(self, password: SecretValue, code: SecretValue) -> RecoveryCodes:
        body = SecondFactorProof(password=_text(password), code=_text(code))
        return self._http.request("POST", "/api/me/recovery-codes", body, returns=RecoveryCodes).value


class SignInRoutes:
    """``/api/auth``: the ways to a credential; none of them needs one."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def with_password(self, name: str, password: SecretValue, code: SecretValue | None = None) -> SessionCreated:
        """A session. :class:`SecondFactorNeeded`: the password is right; again, with a code."""
        body = SignIn(name=name, password=_text(password), code="" if code is None else _text(code))
        return self._http.request("POST", "/api/auth/sign-in", body, returns=SessionCreated).value

    def accept_invitation(self, invitation: SecretValue, password: SecretValue) -> None:
        """Set a password, once."""
        body = InvitationAccept(invitation=_text(invitation), password=_text(password))
        self._http.request("POST", "/api/auth/invitation", body)

    def providers(self) -> list[ProviderView]:
        return list(every(self._http, "/api/auth/oidc", Page[ProviderView], {}))

    def begin_oidc(self, provider: str, redirect_uri: str) -> OidcBegun:
        body = OidcBegin(provider=provider, redirect_uri=redirect_uri)
        return self._http.request("POST", "/api/auth/oidc/begin", body, returns=OidcBegun).value

    def finish_oidc(self, ticket: str, code: str, state: str, issuer: str | None) -> SessionCreated:
        body = OidcFinish(ticket=ticket, code=code, state=state, issuer=issuer)
        return self._http.request("POST", "/api/auth/oidc/finish", body, returns=SessionCreated).value

    def exchange(self, name: str, token: SecretValue) -> ExchangedToken:
        """A CI job's identity token for a short token; ``name`` is that of the server's table ``[ci.NAME]``."""
        body = TokenExchange(name=name, token=_text(token))
        return self._http.request("POST", "/api/auth/exchange", body, returns=ExchangedToken).value


def _text(value: SecretValue) -> str:
    return value.reveal().decode("utf-8", "replace")
