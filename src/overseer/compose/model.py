"""The flattened model: what ``docker compose config --format json`` prints, and what ``docker compose -f -`` reads.

Compose prints every dollar twice (in keys too), and when it reads the model again it halves those of values, not those of keys.
So keys are halved once here, and whoever puts a value into the model doubles the value's own dollars (``emit.dollars``).
"""

from __future__ import annotations

import json
from typing import Any

from overseer.compose.emit import emit
from overseer.core.errors import InvalidInput

Model = dict[str, Any]


def parse_model(output: str | bytes) -> Model:
    """The model that Compose printed. :class:`InvalidInput` where it is no JSON object."""
    try:
        model = _halve_keys(json.loads(output))
    except (ValueError, RecursionError):
        raise InvalidInput("docker compose config did not print a JSON model") from None
    if not isinstance(model, dict):
        raise InvalidInput("docker compose config did not print a JSON model")
    for service in (model.get("services") or {}).values():
        _repair_devices(service.get("blkio_config") or {})
    return model


def _repair_devices(blkio: Model) -> None:
    """Compose prints ``Path``, ``Weight`` and ``Rate`` of block devices with capitals and does not read them so."""
    for name, devices in blkio.items():
        if isinstance(devices, list):
            blkio[name] = [{key.lower(): value for key, value in device.items()} for device in devices]


def _halve_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {key.replace("$$", "$"): _halve_keys(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_halve_keys(value) for value in node]
    return node


def plain(text: object) -> str:
    """A text of the model as it really is."""
    return str(text).replace("$$", "$")


def model_text(model: Model) -> bytes:
    """The model for the standard input of ``docker compose -f -``: ASCII, one line."""
    return emit(model).encode("ascii")
