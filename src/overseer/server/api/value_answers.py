"""The one place of the API where plaintext leaves its type: into an answer to a caller that the gate let through."""

from __future__ import annotations

import base64

from overseer.server.services.export_service import Exported
from overseer.server.services.value_opener import Revealed
from overseer.wire.imports import ExportAnswer
from overseer.wire.secrets import ValueAnswer


def value_answer(revealed: Revealed) -> ValueAnswer:
    """``value`` where the bytes are UTF-8 (RFC 3629: no surrogates), else ``value_base64`` (RFC 4648, section 4)."""
    plain = revealed.value.reveal()
    try:
        text, encoded = plain.decode("utf-8"), None
    except UnicodeDecodeError:
        text, encoded = None, base64.b64encode(plain).decode("ascii")
    return ValueAnswer(
        id=revealed.id,
        name=revealed.name,
        version=revealed.version,
        value=text,
        value_base64=encoded,
        stale=revealed.stale,
    )


def export_answer(exported: Exported) -> ExportAnswer:
    """The file in base64 (RFC 4648, section 4)."""
    return ExportAnswer(
        format=exported.format,
        encrypted=exported.encrypted,
        names=[*exported.names],
        content_base64=base64.b64encode(exported.content.reveal()).decode("ascii"),
    )
