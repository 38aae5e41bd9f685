"""From the setting ``OVERSEER_SEAL`` to a seal: ``file:/absolute/path``, ``env`` or ``passphrase``."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from overseer.core.errors import ConfigurationProblem
from overseer.server.seals.contract import Seal
from overseer.server.seals.env import EnvSeal
from overseer.server.seals.file import FileSeal
from overseer.server.seals.passphrase import PassphraseSeal


def make_seal(spec: str, config: bytes | None = None, environment: MutableMapping[str, str] | None = None) -> Seal:
    """The seal of ``spec``. ``config`` is what the database keeps for it (None or empty: nothing).

    ``environment`` is the process's own unless given. Raises :class:`ConfigurationProblem` for anything else than the forms
    above, without repeating it: someone may have put a key there.
    """
    kind, _, rest = spec.partition(":")
    if kind == "file" and Path(rest).is_absolute() and "\0" not in rest:
        return FileSeal(Path(rest))
    if spec == "env":
        return EnvSeal(os.environ if environment is None else environment)
    if spec == "passphrase":
        return PassphraseSeal(config or None)
    raise ConfigurationProblem("OVERSEER_SEAL is one of file:/absolute/path, env or passphrase")
