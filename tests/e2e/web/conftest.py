"""A real server and Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from overseer.core.errors import ConfigurationProblem
from overseer.crypto.age_keys import Identity
from tests.e2e.web.site import PATIENCE, Site
from tests.integration.server_process.installation import Installation, RunningServer

CONFIGURATION = f"""
[backend-address.local]
hosts = ["127.0.0.1"]
private = true

[backup.nightly]
to = "{{place}}"
recipients = ["{Identity.generate().recipient}"]
keep_last = 3
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module; each test has a context of its own."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium: scripts/chromium_install.sh installs Debian's")
    with sync_playwright() as playwright:
        # As root Chromium's own sandbox cannot be set up; the pages that it opens are ours alone.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A running server with an owner's token, for all modules: a backend may be on loopback, and backups have a place."""
    home = Path(tempfile.mkdtemp(prefix="ovs-"))
    home.chmod(0o711)
    try:
        installation = Installation(home / "data")
    except ConfigurationProblem as problem:
        pytest.skip(problem.message)
    (installation.home / "overseer.toml").write_text(CONFIGURATION.format(place=installation.home))
    server = RunningServer(installation.settings(), home / "server.log")
    try:
        server.wait_for("/health/ready", 200)
        yield Site(server, installation.owner_token)
    finally:
        server.stop()
        installation.postgres.stop()
        shutil.rmtree(home, ignore_errors=True)
