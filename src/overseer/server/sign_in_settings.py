"""What an operator writes about identity providers (``[oidc.NAME]``) and issuers of CI jobs' tokens (``[ci.NAME]``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from overseer.core.errors import ConfigurationProblem
from overseer.core.identifiers import is_name
from overseer.core.secret_value import SecretValue
from overseer.server.settings_tables import TableKind, key

#: Signatures that are accepted at all: asymmetric ones (RFC 7518, RFC 8037). Never "none", never HMAC: who can check could sign.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
PROVISION: Final = ("linked", "mapped", "everyone")
#: Claims that name a project for good; names can be given up and taken by somebody else.
IMMUTABLE_CLAIMS: Final = (
    "repository_id",
    "repository_owner_id",
    "enterprise_id",
    "project_id",
    "namespace_id",
    "user_id",
    "actor_id",
    "sub_id",
    "organization_id",
    "pipeline_definition_id",
)
MIN_EXCHANGE: Final = 60
MAX_EXCHANGE: Final = 3600


@dataclass(frozen=True)
class OidcProvider:
    """One identity provider for people: OpenID Connect, authorization code with PKCE."""

    issuer: str = key("The issuer, exactly as its tokens say; its discovery document is below it. https, or http on loopback.")
    client_id: str = key("The id under which Overseer is registered there; the audience of its tokens.")
    client_secret: SecretValue | None = key("The client's secret; without one Overseer is a public client with PKCE.", None)
    redirect_uri: str | None = key(
        "Where the provider sends browsers back to: https://HOST/sign-in/oidc/callback. Without it only "
        "`overseer login --oidc` works, which comes back to a loopback address.",
        None,
    )
    scopes: tuple[str, ...] = key("What is asked for beside openid.", ("profile",))
    name_claim: str = key("The claim that a new user's name is made from.", "preferred_username")
    groups_claim: str = key("The claim that lists the groups there; a name, or names with dots for a claim inside.", "groups")
    groups: dict[str, str] = key(
        "Groups there and the groups here that their members are put into at each sign-in, and taken out of when the claim does "
        "not list them any more.",
        {},
    )
    provision: str = key(
        "Who gets a user here at the first sign-in: linked (nobody; an administrator ties a user to the subject before), mapped "
        "(who is in one of `groups`), everyone (whom the provider signs in).",
        "linked",
    )
    acr: tuple[str, ...] = key(
        "Authentication contexts of which a sign-in must have one (the token's `acr`); the provider is asked for them.", ()
    )
    amr: tuple[str, ...] = key(
        "Methods of which a sign-in must have used one (the token's `amr`, RFC 8176), such as mfa, otp or hwk.", ()
    )
    algorithms: tuple[str, ...] = key("Signatures that are accepted of it; never none and never HMAC.", ("RS256", "ES256"))
    allow_private: bool = key("Whether the provider may have a private or loopback address.", False)
    ca_file: Path | None = key("PEM file of the only CA to trust for the provider; without it the system's are.", None)

    def __post_init__(self) -> None:
        check_issuer(self.issuer)
        check_algorithms(self.algorithms)
        if self.provision not in PROVISION:
            raise ConfigurationProblem(f"provision is one of {', '.join(PROVISION)}")
        if self.provision == "mapped" and not self.groups:
            raise ConfigurationProblem("provision = mapped needs groups")
        if not all(is_name(name) for name in self.groups.values()):
            raise ConfigurationProblem("groups gives names of groups here")
        if self.redirect_uri is not None and not _is_web(self.redirect_uri):
            raise ConfigurationProblem("redirect_uri is an https URL (http on loopback) without query and fragment")
        if not all(word and word.isascii() and word.isprintable() and " " not in word for word in (*self.acr, *self.amr)):
            raise ConfigurationProblem("acr and amr list words without spaces")


@dataclass(frozen=True)
class CiIssuer:
    """Jobs of a CI system that may exchange their identity token for a short token here."""

    issuer: str = key("The issuer, exactly as the job's token says; its discovery document is below it.")
    audience: str = key(
        "The audience that the job asks its token for; one that no other service uses, such as this server's URL."
    )
    service_account: str = key("The service account that such a job becomes.")
    claims: dict[str, str] = key(
        f"What the token has to say, each exactly; one has to name the project for good: {', '.join(IMMUTABLE_CLAIMS)}."
    )
    jwks_uri: str | None = key("Where its keys are, for an issuer without a discovery document.", None)
    max_seconds: int = key(
        f"How long the token lives at most, {MIN_EXCHANGE} to {MAX_EXCHANGE}; never longer than the job's.", 900
    )
    algorithms: tuple[str, ...] = key("Signatures that are accepted of it; never none and never HMAC.", ("RS256", "ES256"))
    allow_private: bool = key("Whether the issuer may have a private or loopback address.", False)
    ca_file: Path | None = key("PEM file of the only CA to trust for the issuer; without it the system's are.", None)

    def __post_init__(self) -> None:
        check_issuer(self.issuer)
        check_algorithms(self.algorithms)
        if not any(name in IMMUTABLE_CLAIMS and value for name, value in self.claims.items()):
            raise ConfigurationProblem(f"claims has to fix one of {', '.join(IMMUTABLE_CLAIMS)}: names can change hands")
        if not is_name(self.service_account):
            raise ConfigurationProblem("service_account is the name of a service account")
        if not MIN_EXCHANGE <= self.max_seconds <= MAX_EXCHANGE:
            raise ConfigurationProblem(f"max_seconds is a number from {MIN_EXCHANGE} to {MAX_EXCHANGE}")
        if self.jwks_uri is not None and not _is_web(self.jwks_uri):
            raise ConfigurationProblem("jwks_uri is an https URL (http on loopback) without query and fragment")


OIDC: Final = TableKind("oidc", OidcProvider, "An identity provider that signs people in (OpenID Connect).")
CI: Final = TableKind("ci", CiIssuer, "CI jobs that exchange their identity token for a short token of a service account.")


def check_issuer(issuer: str) -> None:
    """Raise :class:`ConfigurationProblem` for what no issuer can be (OpenID Connect Core 1.0, section 2)."""
    if not _is_web(issuer):
        raise ConfigurationProblem("issuer is an https URL (http on loopback) without query and fragment")


def check_algorithms(algorithms: tuple[str, ...]) -> None:
    """Raise :class:`ConfigurationProblem` for a signature that proves nothing."""
    if not algorithms or not set(algorithms) <= set(ALGORITHMS):
        raise ConfigurationProblem(f"algorithms are some of {', '.join(ALGORITHMS)}")


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    loopback = host in ("localhost", "127.0.0.1", "::1")
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    return bool(host) and plain and (parts.scheme == "https" or (parts.scheme == "http" and loopback))
