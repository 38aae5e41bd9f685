"""Whether containers hold what they should, by fingerprints under a key of the deployment. Fingerprints are never kept or given.

The values are opened for the comparison alone; what the agent learns is nothing, and people learn ``matches`` or not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from uuid import UUID

from overseer.core.audit_events import AuditEvent
from overseer.crypto.fingerprints import deployment_key, fingerprint, fingerprints_match
from overseer.crypto.keyring import Purpose
from overseer.crypto.keys import HmacKey
from overseer.server.services.deployment_values import ReferencedVersion, open_references
from overseer.server.services.key_service import KeyService
from overseer.server.services.value_opener import ValueOpener
from overseer.wire.agent import FingerprintReport


def fingerprint_key(keys: KeyService, deployment_id: UUID) -> HmacKey:
    """The key that travels to the node inside the sealed bundle."""
    return deployment_key(keys.keyring.hmac_key(Purpose.FINGERPRINT), deployment_id)


async def compare(
    keys: KeyService,
    opener: ValueOpener,
    deployment_id: UUID,
    references: list[ReferencedVersion],
    reports: Sequence[FingerprintReport],
    event: AuditEvent,
) -> dict[str, bool]:
    """Whether every container that reported holds what it should, by reference. What was deleted since matches nothing.

    ``event`` is the row that a value which does not open corrects. Raises :class:`DecryptionFailed`.
    """
    key = fingerprint_key(keys, deployment_id)
    values = await open_references(opener, references, [event] * len(references))
    right = {reference: fingerprint(key, reference, value) for reference, value in values.items()}
    matches: dict[str, bool] = {}
    for found in reports:
        try:
            seen = base64.b64decode(found.fingerprint, validate=True)
        except (ValueError, binascii.Error):
            seen = b""
        same = found.reference in right and fingerprints_match(seen, right[found.reference])
        matches[found.reference] = matches.get(found.reference, True) and same
    return matches
