"""``overseer secret import`` and ``secret export``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import print_bytes, print_json, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.imports import Conflicts

# Written out: a command starts without the readers. A test holds them against the table of formats.
IMPORT_FORMATS: Final = ("compose", "dotenv", "infisical", "json", "sops", "vault", "yaml")
EXPORT_FORMATS: Final = ("dotenv", "json", "yaml")


@click.command("import")
@click.argument("file", required=False)
@scope_options
@click.option("--format", "form", type=click.Choice(IMPORT_FORMATS), help="How to read FILE (default: by its name).")
@click.option("--from-vault", "vault", multiple=True, metavar="PATH", help="Read PATH of Vault's KV, as in secret/shop; repeat.")
@click.option("--vault-kv", type=click.Choice(["1", "2"]), default="2", show_default=True, help="The version of that engine.")
@click.option("--vault-token-file", metavar="PATH", help="The token for Vault (default: $VAULT_TOKEN).")
@click.option("--identity", metavar="PATH", help="The age key file that opens a SOPS file (default: $SOPS_AGE_KEY_FILE).")
@click.option("--prefix", default="", metavar="TEXT", help="In front of every name.")
@click.option("--keep-names", is_flag=True, help="Keep DB_PASSWORD as it is, instead of db-password.")
@click.option("--rename", "renames", multiple=True, metavar="FROM=TO", help="Another name for one; may be repeated.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this name of the file; may be repeated.")
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "new-version", "fail"]),
    default="fail",
    show_default=True,
    help="What becomes of a secret that exists with another value.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--immediate", is_flag=True, help="Use new versions at once and leave running containers as they are.")
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@json_option
@pass_client
def import_(
    client: Client,
    file: str | None,
    scope: Scope[str],
    form: str | None,
    vault: tuple[str, ...],
    vault_kv: str,
    vault_token_file: str | None,
    identity: str | None,
    prefix: str,
    keep_names: bool,
    renames: tuple[str, ...],
    only: tuple[str, ...],
    on_conflict: Conflicts,
    dry_run: bool,
    immediate: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Import secrets from a file (- is standard input) or from Vault into one scope, all or nothing.

    No value is shown. 'overseer import undo ID' takes an import back where nothing changed since.
    """
    from overseer.cli.importing import read_file, read_renames
    from overseer.interchange.naming import NameRules, named

    if (file is None) == (not vault):
        raise click.UsageError("give FILE or --from-vault, one of them")
    if file is not None:
        found, told = read_file(file, form, identity)
        origin = f"{told} {'standard input' if file == '-' else Path(file).name}"
    else:
        from overseer.cli.vault_reading import VaultReader

        reader = VaultReader.from_environment(os.environ, vault_token_file, int(vault_kv))
        found = [one for path in vault for one in reader.read(path)]
        origin = "vault"
    rules = NameRules(prefix, keep_names, read_renames(renames), frozenset(only))
    answer = client.imports.store(
        named(found, rules),
        scope,
        on_conflict=on_conflict,
        dry_run=dry_run,
        immediate=immediate,
        origin="".join(one for one in origin if one.isprintable())[:200],
        reason=reason,
    )
    if as_json:
        print_json(answer)
        return
    print_table(("NAME", "IS", "DONE" if not dry_run else "WOULD"), [(one.name, one.state, one.done) for one in answer.results])
    done = sum(one.done != "skip" for one in answer.results)
    if dry_run:
        say(f"nothing was changed: this was a dry run for {scope}")
    elif answer.id is None:
        say("there was nothing to do")
    else:
        say(f"imported {done} secret{'s' * (done != 1)} to {scope}; take it back with: overseer import undo {answer.id}")


@click.command("export")
@scope_options
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only this secret; may be repeated.")
@click.option("--format", "form", type=click.Choice(EXPORT_FORMATS), default="dotenv", show_default=True, help="What is written.")
@click.option("--recipient", "recipients", multiple=True, metavar="age1…", help="Encrypt for this age key; may be repeated.")
@click.option("--plaintext", is_flag=True, help="Do not encrypt; needs secret:export.")
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@click.option("--force", is_flag=True, help="Write plain text to a terminal.")
@pass_client
def export(
    client: Client,
    scope: Scope[str],
    names: tuple[str, ...],
    form: str,
    recipients: tuple[str, ...],
    plaintext: bool,
    reason: str,
    force: bool,
) -> None:
    """Write the secrets of exactly one scope to standard output, encrypted with age.

    Open it with 'age --decrypt -i KEY FILE'. All of them are written or nothing; each is audited.
    """
    if plaintext == bool(recipients):
        raise click.UsageError("give --recipient, or --plaintext, and not both")
    if plaintext and sys.stdout.isatty() and not force:
        raise click.UsageError("this would show every value on the terminal; send it to a file or a pipe, or say --force")
    exported, content = client.imports.export(
        scope, names or None, form=form, recipients=recipients, plaintext=plaintext, reason=reason
    )
    print_bytes(content.reveal())
    say(f"exported {len(exported)} secrets of {scope}{' in plain text' if plaintext else ''}")
