"""The composed application, and people who have signed in to it."""

from __future__ import annotations

from tests.integration.api.conftest import described_once, installation, server

__all__ = ["described_once", "installation", "server"]
