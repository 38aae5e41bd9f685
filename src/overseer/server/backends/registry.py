"""The kinds of backends, what each can be told, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from overseer.core.errors import InvalidInput, Problem
from overseer.server.backends import aws_secrets_manager, azure_key_vault, infisical, vault
from overseer.server.backends.contract import Backend, BackendFailure, Key
from overseer.server.backends.service import Setup, host_of

MAX_SETTING: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class BackendKind:
    """``choices`` are the settings of which only certain words are right.

    ``folders``: a slash in a name stands between folders; without them a folder that is asked for is how names begin.
    ``objects``: a value is a JSON object of fields ``always``, ``often`` or ``never``.
    """

    word: str
    meaning: str
    settings: tuple[Key, ...]
    credentials: tuple[Key, ...]
    open: Callable[[Setup], Backend]
    choices: Mapping[str, tuple[str, ...]]
    folders: bool = True
    objects: Literal["always", "often", "never"] = "never"


KINDS: Final[dict[str, BackendKind]] = {
    kind.word: kind
    for kind in (
        BackendKind(
            "aws-secrets-manager",
            "AWS Secrets Manager",
            aws_secrets_manager.SETTINGS,
            aws_secrets_manager.CREDENTIALS,
            aws_secrets_manager.AwsSecretsManager,
            {},
            objects="often",
        ),
        BackendKind(
            "azure-key-vault",
            "Azure Key Vault",
            azure_key_vault.SETTINGS,
            azure_key_vault.CREDENTIALS,
            azure_key_vault.AzureKeyVault,
            {"auth": ("client-secret", "managed-identity")},
            folders=False,
        ),
        BackendKind(
            "infisical",
            "Infisical",
            infisical.SETTINGS,
            infisical.CREDENTIALS,
            infisical.Infisical,
            {"expand_references": ("true", "false")},
        ),
        BackendKind(
            "vault",
            "HashiCorp Vault or OpenBao, KV 1 and 2",
            vault.SETTINGS,
            vault.CREDENTIALS,
            vault.Vault,
            {"auth": ("token", "approle", "jwt", "cert"), "kv_version": ("auto", "1", "2")},
            objects="always",
        ),
    )
}


def kind_of(word: str) -> BackendKind:
    """The kind of that name. Raises :class:`InvalidInput`."""
    if word not in KINDS:
        raise _refused("body.kind", f"one of {', '.join(KINDS)}", "bad_kind")
    return KINDS[word]


def check_settings(kind: BackendKind, given: Mapping[str, str]) -> dict[str, str]:
    """Every setting of the kind, defaults filled in. Raises :class:`InvalidInput`, which repeats no value."""
    found = _known(kind.settings, given, "body.settings")
    missing = [key.name for key in kind.settings if key.default is None and not found.get(key.name)]
    if missing:
        raise _refused("body.settings", f"this kind needs {', '.join(missing)}", "missing_setting")
    for name, words in kind.choices.items():
        if found[name] not in words:
            raise _refused(f"body.settings.{name}", f"one of {', '.join(words)}", "bad_setting")
    for name in ("address", "authority"):
        if found.get(name):
            try:
                host_of(found[name])
            except BackendFailure as failure:
                raise _refused(f"body.settings.{name}", failure.why, "bad_setting") from None
    return found


def check_credentials(kind: BackendKind, given: Mapping[str, str]) -> dict[str, str]:
    """What is given, each known to the kind. Raises as :func:`check_settings`."""
    return {name: text for name, text in _known(kind.credentials, given, "body.credentials").items() if text}


def _known(keys: tuple[Key, ...], given: Mapping[str, str], place: str) -> dict[str, str]:
    names = [key.name for key in keys]
    if not set(given) <= set(names):
        raise _refused(place, f"this kind knows {', '.join(names)}", "unknown_setting")
    if any(len(text) > MAX_SETTING or "\0" in text for text in given.values()):
        raise _refused(place, f"each is text of at most {MAX_SETTING} characters", "bad_setting")
    return {key.name: given.get(key.name, key.default or "") for key in keys}


def _refused(place: str, rule: str, code: str) -> InvalidInput:
    return InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, code)])
