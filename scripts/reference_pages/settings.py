"""Settings of the server, the agent and the clients."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import overseer
from overseer.agent.settings import SETTINGS as AGENT_SETTINGS
from overseer.cli.commands.help import _VARIABLES as CLIENT_VARIABLES
from overseer.server.seals.env import CREDENTIAL
from overseer.server.settings import CONFIG_VARIABLE, SETTINGS
from overseer.server.settings_tables import TableKind, keys_of
from overseer.server.table_kinds import TABLE_KINDS
from scripts.reference_pages.markdown import Page, code, page, prose, table

_ELSEWHERE: Final = {
    CONFIG_VARIABLE: "Read by server and agent: the path of their TOML file (default: `overseer.toml` in the data directory).",
    "OVERSEER_NEW_ROOT_KEY": "Read by `overseer seal migrate --to env`: the new root key, as 64 hexadecimal digits. The systemd "
    "credential `overseer-new-root-key` is the better way.",
    "OVERSEER_ROOT_KEY": "Read by the server with the seal `env`: the root key as 64 hexadecimal digits. It is taken out of the "
    f"environment at once. The systemd credential `{CREDENTIAL}` is the better way.",
    "OVERSEER_SECRETS_DIR": "Set by `overseer run --files` for the command that it runs: the directory of its files.",
}
_GENERAL: Final = (
    "Settings are environment variables, or keys of the same names in the TOML file `overseer.toml` in the data directory. A "
    "variable wins over the file. A wrong setting is refused by name before anything starts; its value is never repeated."
)
_TABLES: Final = (
    "What can be there several times is a table of `overseer.toml`, `[kind.NAME]`; no variable sets it. A secret does not stand "
    'there: `…_file` is the path of a file that holds it, and `… = "env:VARIABLE"` takes it from the environment.'
)
_NAME: Final = re.compile(r"(?<![A-Za-z0-9_])OVERSEER_[A-Z][A-Z_]*[A-Z]")


def build() -> Page:
    """The page; a setting without a meaning is a complaint, and so is a name in the code that no table has."""
    complaints = [f"setting {one.name}: no meaning" for one in SETTINGS if not one.meaning]
    complaints += [
        f"key {one.name} of [{kind.word}]: no meaning" for kind in TABLE_KINDS for one in keys_of(kind.form) if not one.meaning
    ]
    complaints += [f"setting {name}: no meaning" for name, _, meaning in AGENT_SETTINGS if not meaning]
    known = {one.name for one in SETTINGS} | {name for name, _, _ in AGENT_SETTINGS} | {*CLIENT_VARIABLES, *_ELSEWHERE}
    complaints += [f"{name} is read in {path} and described nowhere" for name, path in _names_in_code() if name not in known]
    parts = [
        _GENERAL,
        "## Server",
        table(
            ("Setting", "Type", "Default", "Meaning"),
            [(code(one.name), one.type, prose(one.default) or "empty", prose(one.meaning)) for one in SETTINGS],
        ),
        "### Tables of the file",
        _TABLES,
        *[part for kind in TABLE_KINDS for part in _table_kind(kind)],
        "## Agent",
        table(
            ("Setting", "Default", "Meaning"),
            [(code(name), prose(default), prose(meaning)) for name, default, meaning in AGENT_SETTINGS],
        ),
        "## Command line and Python client",
        "Read from the environment only.",
        table(("Variable", "Meaning"), [(code(name), prose(meaning)) for name, meaning in CLIENT_VARIABLES.items()]),
        "## Others",
        table(("Variable", "Meaning"), [(code(name), meaning) for name, meaning in _ELSEWHERE.items()]),
    ]
    return page("Settings", parts, complaints)


def _table_kind(kind: TableKind[Any]) -> list[str]:
    """The part of the page about one kind of table."""
    rows = [
        (code(one.name), one.type, "has to be written" if one.default is None else prose(one.default), prose(one.meaning))
        for one in keys_of(kind.form)
    ]
    return [f"#### `[{kind.word}.NAME]`", kind.meaning, table(("Key", "Type", "Default", "Meaning"), rows)]


def _names_in_code() -> list[tuple[str, str]]:
    """Every name of a setting that the package's source mentions, with the first file that does."""
    root = Path(overseer.__file__).parent
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        for name in _NAME.findall(path.read_text("utf-8")):
            found.setdefault(name, path.relative_to(root).as_posix())
    return sorted(found.items())
