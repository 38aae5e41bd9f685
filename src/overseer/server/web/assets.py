"""Style, script and icon of the pages, each under an address that holds the hash of its content.

So a browser may keep it for ever, and a new release is never shown with an old style. htmx comes from an installed package; no
file of another project lies in this tree, and no page asks another host for anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_OWN: Final = {
    "overseer.css": "text/css; charset=utf-8",
    "overseer.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
PREFIX: Final = "/static/"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its address, media type and bytes."""

    path: str
    media_type: str
    content: bytes


@cache
def assets() -> dict[str, Asset]:
    """Every asset by its file name."""
    own = files("overseer.server.web") / "static"
    found = {name: _asset(name, media, (own / name).read_bytes()) for name, media in _OWN.items()}
    htmx = files("js_lib_htmx") / "static" / "htmx" / "htmx.min.js"
    found["htmx.js"] = _asset("htmx.js", "text/javascript; charset=utf-8", htmx.read_bytes())
    return found


@cache
def assets_by_path() -> dict[str, Asset]:
    """Every asset by its address."""
    return {asset.path: asset for asset in assets().values()}


def _asset(name: str, media_type: str, content: bytes) -> Asset:
    return Asset(f"{PREFIX}{hashlib.sha256(content).hexdigest()[:16]}/{name}", media_type, content)
