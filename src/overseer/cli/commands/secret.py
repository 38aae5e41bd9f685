"""``overseer secret …``: a name means the secret of that name at exactly the scope that is given, ``--resolve`` aside.

One module a theme: setting, revealing, lists, versions, batches, moving, files of other programs, backends, usage.
"""

from __future__ import annotations

from typing import Final

import click

from overseer.cli.commands.secret_lists import explain, history, info, list_
from overseer.cli.commands.secret_move import move
from overseer.cli.commands.secret_reveal import get
from overseer.cli.commands.secret_set import set_
from overseer.cli.commands.secret_source import untie
from overseer.cli.commands.secret_transfer import export, import_
from overseer.cli.commands.secret_usage import stale, unused, usage
from overseer.cli.commands.secret_versions import activate, delete, rotate

_COMMANDS: Final = (
    move,
    import_,
    export,
    untie,
    usage,
    unused,
    stale,
    set_,
    get,
    list_,
    info,
    history,
    activate,
    rotate,
    delete,
    explain,
)


@click.group()
def secret() -> None:
    """Set, get, list, rotate and delete secrets."""


for command in _COMMANDS:
    secret.add_command(command)
