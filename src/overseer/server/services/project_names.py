"""What the Compose project of an app in an environment is called.

Guarantees: no two pairs of an app and an environment have one name, so nobody who deploys one app takes the place of another on a
node. Where app and environment are plain the name is the two with a hyphen between; every other name ends in a digest.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_MOST_TEXT: Final = 64
_DIGITS: Final = 12


def project_name(app: str, environment: str | None) -> str:
    """``shop-prod``; ``[a-z0-9][a-z0-9_-]*`` as Compose demands and at most 129 characters.

    Plain names hold one hyphen or none, so where the app ends can be seen. All others hold two at least, then the first 48 bits
    of a SHA-256 over both names: a name that is made to meet another one's costs as many tries.
    """
    if _PLAIN.fullmatch(app) and environment is None:
        return app
    if environment is not None and _PLAIN.fullmatch(app) and _PLAIN.fullmatch(environment):
        return f"{app}-{environment}"
    # A name holds no NUL, so the two cannot be cut in another place; none at all is not the same as an empty one.
    whole = app if environment is None else f"{app}\0{environment}"
    digest = hashlib.sha256(whole.encode("utf-8")).hexdigest()[:_DIGITS]
    text = re.sub(r"[^a-z0-9_-]", "-", whole.lower())[:_MOST_TEXT].strip("-_") or "app"
    return f"{text}-{digest}" if "-" in text else f"{text}--{digest}"
