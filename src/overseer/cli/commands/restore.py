"""``overseer restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overseer.cli.commands.backup import (
    checkpoint_option,
    identity_option,
    passphrase_option,
    print_opened,
    signed_by_option,
    stdin_option,
    summary,
    unsigned_option,
)
from overseer.cli.commands.server import load_server_settings
from overseer.cli.options import json_option, yes_option
from overseer.cli.output import print_json, say

if TYPE_CHECKING:
    from overseer.server.services.backup_restoring import Opened, Restored

#: Seals whose root key lies in the database under a key that a service keeps: whoever may encrypt there can make one up.
FROM_THE_BACKUP = frozenset({"awskms", "vault-transit"})


@click.command()
@click.argument("file", metavar="FILE")
@identity_option
@passphrase_option
@checkpoint_option
@click.option(
    "--keep-credentials", is_flag=True, help="Tokens, sessions, nodes and invitations stay as they were when it was made."
)
@signed_by_option
@unsigned_option
@stdin_option
@yes_option
@json_option
def restore(
    file: str,
    identities: tuple[str, ...],
    passphrase_file: str | None,
    checkpoint: str | None,
    keep_credentials: bool,
    signed_by: str | None,
    unsigned: bool,
    stdin: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Restore a backup into an empty database.

    It is the database of this server's settings; whatever goes wrong, it stays empty. FILE is a path or s3://BUCKET/KEY.
    Everything is checked first: the file, each row, the seal (OVERSEER_SEAL, with the root key in its place), the signature,
    every value, the audit log. Compare the key that signed it with the recovery kit, or give --signed-by. The old server must
    not run any more. Tokens, sessions, nodes' credentials and invitations end, for what was taken away after the backup must
    not come back.
    """
    settings = load_server_settings()
    from overseer.cli.backup_keys import expected_of, opening_keys, require_file
    from overseer.cli.backup_setup import restore_here
    from overseer.cli.seal_material import SealMaterial
    from overseer.cli.terminal import confirm
    from overseer.server.storage.backup_places import open_backup

    kind = settings.seal.partition(":")[0]
    if yes and kind in FROM_THE_BACKUP and not (signed_by or unsigned):
        raise click.UsageError(f"with the seal {kind} the root key is in the backup: --yes needs --signed-by KEY beside it")
    require_file(file)
    expected = expected_of(checkpoint, signed_by, unsigned)
    keys = opening_keys(identities, passphrase_file)
    given = SealMaterial(stdin).opening(kind)

    def told(opened: Opened) -> None:
        if not as_json:
            print_opened(opened, compared=checkpoint is not None)
        if not yes:
            compare = opened.signer is not None and expected.signed_by is None
            confirm("Is that the key of the recovery kit, and shall it be restored here?" if compare else "Restore it here?")

    with open_backup(file) as source:
        done = restore_here(
            settings,
            source,
            keys,
            given,
            expected=expected,
            keep_credentials=keep_credentials,
            told=told,
        )
    if as_json:
        revoked = {"tokens": done.revoked.tokens, "node_keys": done.revoked.node_keys, "invitations": done.revoked.invitations}
        print_json({**summary(done.opened), "incarnation": done.incarnation, "revoked": revoked})
    _tell(done, keep_credentials)


def _tell(done: Restored, kept: bool) -> None:
    revoked = done.revoked
    say(f"restored; the audit log goes on as incarnation {done.incarnation}")
    if kept:
        say("credentials stay as they were: revoke what was taken away since the backup was made")
    else:
        ended = f"{revoked.tokens} token(s) and session(s), {revoked.node_keys} node key(s)"
        say(f"ended: {ended}, {revoked.invitations} invitation(s)")
        say("no schedule of backups is followed, and the former server's files stay: where this one takes its place, run")
        say("      overseer backup resume (with --take-over where retention shall remove those as well)")
        say("Next: overseer server init --renew-owner-token (or sign in with a password), then overseer server run")
        say("      overseer node enrol-token NAME for each node, and agent join there; new tokens for CI and service accounts")
    say("      overseer key verify, then overseer key rotate: uses of the key after the backup were not counted in it")
    say("      put the instance's configuration (overseer.toml, TLS files) back: a backup holds the database alone")
