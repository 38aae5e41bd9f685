"""The proof that a form was made for the session that sends it (OWASP: HMAC-based token pattern).

The proof is an HMAC-SHA-256 under the hash by which the server knows the session: the browser's cookie leads to it, no other site
can read either. It is the same for all forms of a session, worthless for another one, and ends with it. Whoever has read the
database could compute it, and still could not send it: the Origin, its scheme included, is checked
apart.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from overseer.core.errors import ForeignOrigin

CSRF_FIELD: Final = "csrf"
_CONTEXT: Final = b"overseer form proof v1"


def proof_of(session_hash: bytes) -> str:
    """The proof for forms of the session, 64 hexadecimal digits."""
    return hmac.new(session_hash, _CONTEXT, hashlib.sha256).hexdigest()


def check_proof(sent: str, expected: str) -> None:
    """Raise :class:`ForeignOrigin` unless ``sent`` is the proof; compared in constant time, as an HMAC has to be."""
    if not expected or not hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode("ascii")):
        raise ForeignOrigin("this form was not made for your session; load the page again")
