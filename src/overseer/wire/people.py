"""Users, how they sign in, and their sessions."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class UserCreate(Request, frozen=True):
    name: str
    description: str = ""


class UserPatch(Request, frozen=True):
    description: str


class ExternalIdentity(Request, frozen=True):
    """Who a user is at a provider: the issuer's URL and the subject there, exactly as the provider's tokens say."""

    issuer: str
    subject: str


class IdentityView(Answer, frozen=True):
    issuer: str
    subject: str


class UserView(Answer, frozen=True):
    """``has_password`` and ``has_second_factor`` say how it signs in; ``identities`` is empty for those who do so here only."""

    id: str
    name: str
    description: str
    disabled: bool
    has_password: bool
    has_second_factor: bool
    identities: list[IdentityView]
    last_sign_in_at: datetime | None
    created_at: datetime


class UserReset(Request, frozen=True):
    """``second_factor``: take that away, too. The invitation lives for ``expires_in`` seconds, 300 to 7 days."""

    second_factor: bool = False
    expires_in: int = 3 * 86400


class InvitationCreated(Answer, frozen=True):
    """``invitation`` is shown this once; whoever holds it sets the user's password, once."""

    id: str
    user: str
    invitation: str
    expires_at: datetime


class InvitationAccept(Request, frozen=True):
    invitation: str
    password: str


class SignIn(Request, frozen=True):
    """``code`` is a code of the authenticator or a recovery code; needed where the user has a second factor."""

    name: str
    password: str
    code: str = ""


class SessionCreated(Answer, frozen=True):
    """``session`` is the credential, shown this once: send it like a token. It ends after ``idle_seconds`` without use.
    ``enrolling``: it can set up a second factor and sign out, and nothing else until that is in force."""

    id: str
    session: str
    user: str
    expires_at: datetime
    idle_seconds: int
    enrolling: bool = False


class SessionView(Answer, frozen=True):
    """``current``: it is the one that asks. ``description`` says which client began it, and from where."""

    id: str
    user: str
    user_id: str
    description: str
    current: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime
    idle_seconds: int


class PasswordChange(Request, frozen=True):
    current: str
    password: str


class SessionRenewed(Answer, frozen=True):
    """``session`` is the new secret of the session that asked; null where a token asked. Other sessions ended."""

    session: str | None = None


class PasswordProof(Request, frozen=True):
    password: str


class TotpStarted(Answer, frozen=True):
    """Shown this once. ``uri`` is what an authenticator reads from a QR code; it holds the secret."""

    secret: str
    uri: str


class TotpCode(Request, frozen=True):
    code: str


class SecondFactorProof(Request, frozen=True):
    """The password and a code of the authenticator, or a recovery code."""

    password: str
    code: str


class RecoveryCodes(Answer, frozen=True):
    """Shown this once; each works once in place of a code. ``session`` as in SessionRenewed."""

    codes: list[str]
    session: str | None = None


class SessionsEnded(Answer, frozen=True):
    """How many sessions were live until now."""

    ended: int
