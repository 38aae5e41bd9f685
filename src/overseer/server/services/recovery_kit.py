"""What an operator has to keep away from the machine, in words. It names places and never holds a key."""

from __future__ import annotations

from typing import Final
from uuid import UUID

_KEEP: Final = {
    "file": "the key file named above. Copy it to a place that is neither this machine nor your backups of the database",
    "env": "the root key that you handed over in the environment or as a credential",
    "passphrase": "the passphrase. Nobody can reset it; the database holds only what makes it slow to guess",
}


def recovery_kit(instance_id: UUID, kind: str, description: str) -> str:
    """The text that ``server init`` prints, ending with a line's end."""
    keep = _KEEP.get(kind, "what opens the seal named above")
    return f"""\
Recovery kit of Overseer instance {instance_id}
  Seal: {description}
  Keep: {keep}.
  Without it every backup of the database is useless: the secrets in it cannot be decrypted, by anyone.
  With it and a backup of the database, everything can be restored on another machine.
  Whoever has both can read every secret, so keep them apart.
"""
