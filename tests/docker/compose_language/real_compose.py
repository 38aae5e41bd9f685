"""Driving the real ``docker compose config``: what Compose itself makes of a file. No engine is needed."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overseer.compose.bundle import Bundle
from overseer.compose.delivery import deliver
from overseer.compose.grammar import Reference, scan
from overseer.compose.injection import plan_injection
from overseer.compose.model import parse_model
from overseer.compose.placeholders import to_placeholders
from overseer.compose.references import find_references
from overseer.compose.render import render_file
from overseer.compose.render_env import render_env_file
from overseer.core.secret_value import SecretValue

Values = Mapping[Reference, SecretValue]


def reference(text: str) -> Reference:
    """The reference that ``${SECRET:text}`` names."""
    (token,) = scan("${SECRET:" + text + "}").tokens
    return token.reference


def secrets(**texts: str | bytes) -> dict[Reference, SecretValue]:
    """Values by name; ``_`` in a keyword stays ``_``."""
    return {Reference(name): SecretValue(text) for name, text in texts.items()}


class ComposeRefused(Exception):
    """Compose's own error text."""


@dataclass(frozen=True)
class RealCompose:
    """The program, run on a temporary directory with an environment of nothing."""

    program: Path

    def raw(
        self,
        files: Mapping[str, bytes],
        compose_files: Sequence[str] = (),
        *,
        stdin: bytes | None = None,
        profiles: Sequence[str] = (),
    ) -> bytes:
        """What ``config --format json`` prints. Raises :class:`ComposeRefused`."""
        with tempfile.TemporaryDirectory() as directory:
            for path, data in files.items():
                target = Path(directory, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            options = [part for path in compose_files for part in ("-f", path)]
            options += [part for profile in profiles for part in ("--profile", profile)]
            command = [str(self.program), "--project-directory", ".", "-p", "shop", *options, "config", "--format", "json"]
            result = subprocess.run(
                command, cwd=directory, input=stdin, env={"HOME": directory}, capture_output=True, check=False, timeout=180
            )
            if result.returncode:
                raise ComposeRefused(result.stderr.decode("utf-8", "replace"))
            # The directory's name is random: two runs of the same files must compare equal.
            return result.stdout.replace(directory.encode(), b"/project")

    def model(self, files: Mapping[str, bytes], compose_files: Sequence[str] = (), **more: Any) -> dict[str, Any]:
        """The model as it really is, with single dollars."""
        return plain(json.loads(self.raw(files, compose_files, **more)))

    def spliced(self, files: Mapping[str, bytes], values: Values, *, allow_persisting: bool = True) -> dict[str, Any]:
        """The model by the splice way: every file rendered, then read by Compose."""
        bundle = Bundle(files)
        scan_result = find_references(bundle, allow_persisting=True)
        rendered = dict(files)
        for path, file in scan_result.scans.items():
            if file.document is not None:
                done = render_file(files[path], values, path=path, allow_persisting=allow_persisting)
            else:
                done = render_env_file(files[path], values, path=path)
            rendered[path] = done.text.reveal()
        return self.model(rendered, bundle.main_files(), profiles=("*",))

    def placed(self, files: Mapping[str, bytes], values: Values, *, allow_persisting: bool = True) -> dict[str, Any]:
        """The model by the placeholder way, after Compose read the filled model from standard input."""
        words = to_placeholders(Bundle(files), allow_persisting=allow_persisting)
        flat = parse_model(self.raw(words.files, words.compose_files, profiles=("*",)))
        plan = plan_injection(flat, words.placeholders, root="/run/overseer/shop", allow_persisting=allow_persisting)
        done = deliver(plan, words.placeholders, values)
        return self.model({}, ("-",), stdin=done.compose_input.reveal())


def plain(node: Any) -> Any:
    """A model with Compose's doubled dollars halved."""
    if isinstance(node, str):
        return node.replace("$$", "$")
    if isinstance(node, dict):
        return {key.replace("$$", "$"): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node
