"""From the setting ``OVERSEER_SEAL`` to a seal: ``file:/absolute/path``, ``env``, ``passphrase``, ``shamir:K/N``,
``awskms:KEY`` or ``vault-transit:https://…``."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from uuid import UUID

from overseer.core.errors import ConfigurationProblem
from overseer.server.seals.aws_kms import AwsKmsSeal
from overseer.server.seals.contract import Seal
from overseer.server.seals.env import EnvSeal
from overseer.server.seals.file import FileSeal
from overseer.server.seals.passphrase import PassphraseSeal
from overseer.server.seals.shamir import ShamirSeal
from overseer.server.seals.specification import kms_key, share_numbers, transit_key
from overseer.server.seals.vault_transit import VaultTransitSeal

FORMS = "file:/absolute/path, env, passphrase, shamir:K/N, awskms:KEY?region=… or vault-transit:https://HOST?key=…&token_file=…"


def make_seal(
    spec: str,
    config: bytes | None = None,
    environment: MutableMapping[str, str] | None = None,
    *,
    instance_id: UUID | None = None,
    successor: bool = False,
) -> Seal:
    """The seal of ``spec``. ``config`` is what the database keeps for it (None or empty: nothing).

    ``environment`` is the process's own unless given; ``instance_id`` is what wraps by a service are bound to; ``successor``
    is a seal that is to take the place of another one. Raises :class:`ConfigurationProblem` for anything else than the forms
    above, without repeating it: someone may have put a key there.
    """
    kind, colon, rest = spec.partition(":")
    stored = config or None
    if kind == "file" and Path(rest).is_absolute() and "\0" not in rest:
        return FileSeal(Path(rest))
    if spec == "env":
        return EnvSeal(os.environ if environment is None else environment, successor=successor)
    if spec == "passphrase":
        return PassphraseSeal(stored)
    if kind == "shamir":
        return ShamirSeal(stored, share_numbers(rest))
    if kind == "awskms" and colon:
        return AwsKmsSeal(kms_key(rest), stored, instance_id)
    if kind == "vault-transit" and colon:
        return VaultTransitSeal(transit_key(rest), stored, instance_id)
    raise ConfigurationProblem(f"OVERSEER_SEAL is one of {FORMS}")
