"""``overseer secret import`` and ``secret export``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from overseer.cli.options import json_option, pass_client, scope_options
from overseer.cli.output import print_bytes, print_json, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.imports import ImportAnswer

# Written out: a command starts without the readers. A test holds them against the table of formats.
IMPORT_FORMATS: Final = ("compose", "dotenv", "infisical", "json", "sops", "vault", "yaml")
EXPORT_FORMATS: Final = ("dotenv", "json", "yaml")


@click.command("import")
@click.argument("file", required=False)
@scope_options
@click.option("--from", "backend", metavar="BACKEND[:FOLDER]", help="What is below FOLDER of a backend: corp:apps/shop.")
@click.option("--recursive", is_flag=True, help="With --from: what is in folders of FOLDER as well.")
@click.option(
    "--fields",
    type=click.Choice(["auto", "split", "whole"]),
    default="auto",
    show_default=True,
    help="With --from: a secret of each field of a JSON object, or of the whole value; auto goes by the kind of backend.",
)
@click.option(
    "--on-unreadable",
    type=click.Choice(["skip", "fail"]),
    default="fail",
    show_default=True,
    help="With --from: what becomes of the import where a value there is refused or missing.",
)
@click.option("--format", "form", type=click.Choice(IMPORT_FORMATS), help="How to read FILE (default: by its name).")
@click.option("--from-vault", "vault", multiple=True, metavar="PATH", help="Read PATH of Vault's KV, as in secret/shop; repeat.")
@click.option("--vault-kv", type=click.Choice(["1", "2"]), default="2", show_default=True, help="The version of that engine.")
@click.option("--vault-token-file", metavar="PATH", help="The token for Vault (default: $VAULT_TOKEN).")
@click.option("--identity", metavar="PATH", help="The age key file that opens a SOPS file (default: $SOPS_AGE_KEY_FILE).")
@click.option("--prefix", default="", metavar="TEXT", help="In front of every name.")
@click.option("--keep-names", is_flag=True, help="Keep DB_PASSWORD as it is, instead of db-password.")
@click.option("--rename", "renames", multiple=True, metavar="FROM=TO", help="Another name; FROM is PATH#FIELD with --from.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this name of the file, or PATH[#FIELD] with --from; repeat.")
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
    backend: str | None,
    vault: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Import secrets from a file (- is standard input), a backend or Vault into one scope, all or nothing.

    With --from the server asks the backend itself, and no value passes here. No value is shown. 'overseer import undo ID' takes
    an import back where nothing changed since.
    """
    if (file is not None) + (backend is not None) + bool(vault) != 1:
        raise click.UsageError("give FILE, --from or --from-vault, one of them")
    answer = _from_here(client, file, vault, options) if backend is None else _from_backend(client, backend, options)
    if as_json:
        print_json(answer)
        return
    _tell(answer, options["scope"])


def _from_backend(client: Client, backend: str, options: dict[str, Any]) -> ImportAnswer:
    from overseer.cli.importing import read_renames
    from overseer.wire.imports import LiveImportRequest

    given = [name for name in ("form", "vault_token_file", "identity") if options[name] is not None]
    if given:
        raise click.UsageError("--format, --vault-token-file and --identity are for what is read here, not for --from")
    name, _, folder = backend.partition(":")
    scope: Scope[str] = options["scope"]
    body = LiveImportRequest(
        backend=name,
        folder=folder.strip("/"),
        recursive=options["recursive"],
        fields=options["fields"],
        only=[*options["only"]],
        renames=read_renames(options["renames"]),
        prefix=options["prefix"],
        keep_names=options["keep_names"],
        on_unreadable=options["on_unreadable"],
        app=scope.app,
        environment=scope.environment,
        node=scope.node,
        on_conflict=options["on_conflict"],
        dry_run=options["dry_run"],
        immediate=options["immediate"],
        reason=options["reason"],
    )
    return client.imports.from_backend(body)


def _from_here(client: Client, file: str | None, vault: tuple[str, ...], options: dict[str, Any]) -> ImportAnswer:
    from overseer.cli.importing import read_file, read_renames
    from overseer.interchange.naming import NameRules, named

    if options["recursive"] or options["fields"] != "auto" or options["on_unreadable"] != "fail":
        raise click.UsageError("--recursive, --fields and --on-unreadable are for --from")
    if file is not None:
        found, told = read_file(file, options["form"], options["identity"])
        origin = f"{told} {'standard input' if file == '-' else Path(file).name}"
    else:
        from overseer.cli.vault_reading import VaultReader

        reader = VaultReader.from_environment(os.environ, options["vault_token_file"], int(options["vault_kv"]))
        found = [one for path in vault for one in reader.read(path)]
        origin = "vault"
    rules = NameRules(
        options["prefix"], options["keep_names"], read_renames(options["renames"]), frozenset(options["only"])
    )
    return client.imports.store(
        named(found, rules),
        options["scope"],
        on_conflict=options["on_conflict"],
        dry_run=options["dry_run"],
        immediate=options["immediate"],
        origin="".join(one for one in origin if one.isprintable())[:200],
        reason=options["reason"],
    )


def _tell(answer: ImportAnswer, scope: Scope[str]) -> None:
    heads = ("NAME", "IS", "WOULD" if answer.dry_run else "DONE")
    if any(one.source for one in answer.results):
        rows = [(one.name, one.source, one.state, one.done, one.why) for one in answer.results]
        print_table((heads[0], "FROM", *heads[1:], "WHY"), rows)
    else:
        print_table(heads, [(one.name, one.state, one.done) for one in answer.results])
    done = sum(one.done in ("create", "update") for one in answer.results)
    if answer.dry_run:
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
