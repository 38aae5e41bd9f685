"""The text of ``OVERSEER_SEAL``, taken apart: ``KIND:PLACE?option=value&…``.

Guarantee: an unknown or a doubled option is refused, and no error repeats what was written: someone may have put a key there.
Secrets have no option; only files and variables that hold them are named.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from overseer.core.errors import ConfigurationProblem
from overseer.server.seals.aws_kms import KmsKey
from overseer.server.seals.vault_transit import Reference, TransitKey

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_KMS_KEY: Final = re.compile(r"[A-Za-z0-9:/_-]{1,2048}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KMS_OPTIONS: Final = frozenset({"region", "endpoint"})
_VAULT_OPTIONS: Final = frozenset(
    {
        *("key", "mount", "namespace", "ca_file", "token_file", "token_env"),
        *("role_id", "secret_id_file", "secret_id_env", "approle_mount"),
    }
)


def kms_key(place: str) -> KmsKey:
    """``KEY?region=…&endpoint=…``. Raises :class:`ConfigurationProblem`."""
    key, options = _options("awskms", place, _KMS_OPTIONS)
    if not _KMS_KEY.fullmatch(key):
        raise ConfigurationProblem("OVERSEER_SEAL: awskms:KEY names a key by its id, ARN or alias/NAME")
    endpoint = options.get("endpoint")
    return KmsKey(key, options.get("region"), None if endpoint is None else _address("awskms", endpoint))


def transit_key(place: str) -> TransitKey:
    """``https://HOST:PORT?key=NAME&token_file=/PATH&…``. Raises :class:`ConfigurationProblem`."""
    address, options = _options("vault-transit", place, _VAULT_OPTIONS)
    key, role_id = options.get("key", ""), options.get("role_id")
    names = [key, options.get("mount", "transit"), options.get("approle_mount", "approle"), options.get("namespace", "n")]
    if not all(_NAME.fullmatch(name.strip("/")) for name in names) or "/" in key:
        raise ConfigurationProblem("OVERSEER_SEAL: key, mount and namespace of vault-transit are names; key must be given")
    what = "token" if role_id is None else "secret_id"
    other = "secret_id" if role_id is None else "token"
    if any(name.startswith(f"{other}_") for name in options):
        raise ConfigurationProblem("OVERSEER_SEAL: vault-transit takes a token, or role_id and a secret id")
    return TransitKey(
        _address("vault-transit", address),
        key,
        _reference(options.get(f"{what}_file"), options.get(f"{what}_env"), what),
        mount=names[1].strip("/"),
        role_id=role_id,
        approle_mount=names[2].strip("/"),
        namespace=options.get("namespace"),
        ca_file=_file(options.get("ca_file")),
    )


def share_numbers(place: str) -> tuple[int, int] | None:
    """``K/N``, or None for nothing. Raises :class:`ConfigurationProblem`; whether they make sense is the shares' question."""
    if not place:
        return None
    found = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", place)
    if found is None:
        raise ConfigurationProblem("OVERSEER_SEAL: shamir:K/N says that K of N shares open the seal, such as shamir:3/5")
    return int(found[1]), int(found[2])


def _options(kind: str, place: str, known: frozenset[str]) -> tuple[str, dict[str, str]]:
    before, _, query = place.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        pairs = [("", "")]
    options = dict(pairs)
    if len(options) != len(pairs) or not set(options) <= known or not all(options.values()):
        raise ConfigurationProblem(f"OVERSEER_SEAL: options of {kind} are {', '.join(sorted(known))}, each once, with a value")
    return before, options


def _address(kind: str, text: str) -> str:
    problem = ConfigurationProblem(f"OVERSEER_SEAL: {kind} needs an https:// address without user and path (http:// on loopback)")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.path.strip("/"):
        raise problem
    if parts.scheme == "http" and not _is_loopback(host):
        raise problem
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _reference(file: str | None, variable: str | None, what: str) -> Reference:
    if (file is None) == (variable is None):
        raise ConfigurationProblem(f"OVERSEER_SEAL: vault-transit takes one of {what}_file and {what}_env")
    if variable is not None and not _VARIABLE.fullmatch(variable):
        raise ConfigurationProblem(f"OVERSEER_SEAL: {what}_env names a variable of the environment")
    return Reference(_file(file), variable)


def _file(text: str | None) -> Path | None:
    if text is not None and (not Path(text).is_absolute() or "\0" in text):
        raise ConfigurationProblem("OVERSEER_SEAL: files of vault-transit have absolute paths")
    return None if text is None else Path(text)
