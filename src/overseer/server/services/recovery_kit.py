"""What an operator has to keep away from the machine, in words. It names places and never holds a key."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from overseer.crypto.signed_notes import VerifierKey

_KEEP: Final = {
    "file": "the key file named above. Copy it to a place that is neither this machine nor your backups of the database",
    "env": "the root key that you handed over in the environment or as a credential",
    "passphrase": "the passphrase. Nobody can reset it; the database holds only what makes it slow to guess",
    "shamir": "the shares, each with another person and at another place. They are not shown again",
    "awskms": "the KMS key, never scheduled for deletion, and a way into its account. The wrapped root key is in the database",
    "vault-transit": "the transit key with its versions, in that server's own backups. The wrapped root key is in the database",
}

_DESTROY: Final = {
    "file": "delete the key file and its copies",
    "env": "delete the root key where you kept it, and take it out of the unit or the environment",
    "passphrase": "forget the passphrase; use it nowhere else",
    "shamir": "collect the old shares and destroy them",
    "awskms": "take the server's kms:Decrypt away; the KMS key itself may have other uses",
    "vault-transit": "revoke the server's token or AppRole; the transit key itself may have other uses",
}


def recovery_kit(instance_id: UUID, kind: str, description: str, signer: VerifierKey) -> str:
    """The text that ``server init`` prints, ending with a line's end."""
    keep = _KEEP.get(kind, "what opens the seal named above")
    return f"""\
Recovery kit of Overseer instance {instance_id}
  Seal: {description}
  Keep: {keep}.
  Without it every backup of the database is useless: the secrets in it cannot be decrypted, by anyone.
  With it and a backup of the database, everything can be restored on another machine.
  Whoever has both can read every secret, so keep them apart.
  Its backups are signed by
        {signer}
  which is no secret: `overseer restore --signed-by` takes it. Keep it with the key, where nobody else can change it.
"""


def move_statement(spec: str, old_kind: str, old_description: str, now: datetime) -> str:
    """The text that ``seal migrate`` prints under the new recovery kit, ending with a line's end."""
    hand = ""
    if spec == "env":
        hand = "\n       Hand the new key over as OVERSEER_ROOT_KEY or as the credential overseer-root-key from then on."
    return f"""\
Set:   OVERSEER_SEAL={spec} on every replica, before it is started again. Running replicas go on.{hand}
Old:   {old_description}.
       It no longer opens this instance. It still opens backups of the database made before {now:%Y-%m-%d %H:%M} UTC.
       Keep it for as long as you keep such a backup. Then {_DESTROY.get(old_kind, "destroy what opened it")}.
       Was it seen by somebody? Whoever has it and such a backup has every key in it: run `overseer key rotate` and
       rotate the secrets themselves.
"""
