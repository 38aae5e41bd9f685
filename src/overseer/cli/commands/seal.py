"""``overseer seal …``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from overseer.cli.options import Connection, json_option, yes_option
from overseer.cli.output import moment, print_fields, print_json, print_own, say
from overseer.cli.values import read_credential
from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.server.services.seal_migration import Moved
    from overseer.server.settings import Settings
    from overseer.wire.seal import SealStatus


@click.group()
def seal() -> None:
    """Show the seal, unseal a server, move to another seal."""


@seal.command()
@json_option
@click.pass_obj
def status(connection: Connection, as_json: bool) -> None:
    """Show whether the server is sealed. Needs no token."""
    with connection.open_client() as client:
        answer = client.seal_status()
    if as_json:
        print_json(answer)
        return
    state = "sealed" if answer.sealed else "unsealed"
    print_fields(
        [
            ("state", f"{state} since {moment(answer.since)}" if answer.since else state),
            ("kind", answer.kind),
            ("set up", "yes" if answer.initialised else "no"),
            *([("shares", _progress(answer))] if answer.progress is not None else []),
        ]
    )
    if answer.setting not in ("", answer.kind):
        say(f"this server is configured for the seal {answer.setting!r}: set OVERSEER_SEAL before it is started again")


@seal.command()
@click.option("--stdin", is_flag=True, help="Read the passphrase, or shares one a line, from standard input.")
@click.option("--anew", is_flag=True, help="Forget the shares that were given so far, and begin with this one.")
@json_option
@click.pass_obj
def unseal(connection: Connection, stdin: bool, anew: bool, as_json: bool) -> None:
    """Give the passphrase of the seal, or one of its shares, asked for on the terminal. Needs no token."""
    with connection.open_client() as client:
        before = client.seal_status()
        if before.setting == "shamir" or before.kind == "shamir":
            answer = _give_shares(client, stdin, anew)
        else:
            if anew:
                raise click.UsageError("--anew goes with a seal by shares")
            instead = "give the passphrase with --stdin"
            answer = client.unseal(read_credential(None, stdin, prompt="passphrase of the seal", instead=instead))
    if as_json:
        print_json(answer)
    say(f"still sealed: {_progress(answer)}" if answer.progress else "still sealed" if answer.sealed else "unsealed")


def _give_shares(client: Client, stdin: bool, anew: bool) -> SealStatus:
    from overseer.cli.seal_material import read_shares

    for number, share in enumerate(read_shares(stdin)):
        answer = client.give_share(share, anew=anew and number == 0)
        if not answer.sealed:
            break
    return answer


def _progress(answer: SealStatus) -> str:
    progress = answer.progress
    return "" if progress is None else f"{progress.given} of {progress.threshold} given ({progress.count} exist)"


@seal.command()
@click.option("--to", "spec", metavar="SPEC", required=True, help="The new seal, as OVERSEER_SEAL will name it.")
@click.option("--stdin", is_flag=True, help="Read what opens the present seal, then the new passphrase, a line each.")
@click.option("--shares-to", metavar="FILE", help="Write new shares to a new file (0600) and not to stdout.")
@yes_option
@json_option
def migrate(spec: str, stdin: bool, shares_to: str | None, yes: bool, as_json: bool) -> None:
    """Move to another seal: the keyring is wrapped by a new root key, in one step. Run it on the server's machine.

    OVERSEER_SEAL names the present seal. It opens the instance until the moment of the change and no longer. Running servers
    go on. The new key of --to env is read from OVERSEER_NEW_ROOT_KEY or the credential overseer-new-root-key.
    """
    _move(_settings(), spec, stdin, shares_to, yes, as_json)


@seal.command()
@click.option("--threshold", metavar="K", type=click.IntRange(2, 255), required=True, help="How many shares open the seal.")
@click.option("--shares", metavar="N", type=click.IntRange(2, 255), required=True, help="How many shares there are.")
@click.option("--stdin", is_flag=True, help="Read the present shares from standard input, one a line.")
@click.option("--shares-to", metavar="FILE", help="Write the new shares to a new file (0600) and not to stdout.")
@yes_option
@json_option
def rekey(threshold: int, shares: int, stdin: bool, shares_to: str | None, yes: bool, as_json: bool) -> None:
    """Make new shares, of other numbers if you like; the old ones are worth nothing then. Run it on the server's machine."""
    settings = _settings()
    if settings.seal.partition(":")[0] != "shamir":
        raise ConfigurationProblem("seal rekey is for a seal by shares; move to one with `overseer seal migrate --to shamir:K/N`")
    _move(settings, f"shamir:{threshold}/{shares}", stdin, shares_to, yes, as_json)


def _move(settings: Settings, spec: str, stdin: bool, shares_to: str | None, yes: bool, as_json: bool) -> None:
    from overseer.cli.seal_material import SealMaterial, show_shares, written_shares
    from overseer.cli.server_setup import move_seal
    from overseer.cli.terminal import confirm
    from overseer.server.seals.selection import make_seal

    new = make_seal(spec, successor=True)
    old_kind = settings.seal.partition(":")[0]
    if new.kind == "shamir" and as_json and shares_to is None:
        raise click.UsageError("--json with new shares needs --shares-to FILE: they are delivered before the change")
    if new.kind != "shamir" and shares_to is not None:
        raise click.UsageError("--shares-to goes with a seal by shares")
    if not yes and not stdin:
        confirm(f"Move this instance from the seal {old_kind} to {new.kind}?")
    material = SealMaterial(stdin)
    opening, new_passphrase = material.opening(old_kind), material.new(new.kind)
    material.end()

    def prove(shares: Sequence[SecretValue]) -> SecretValue | None:
        if not shares:
            return new_passphrase
        show_shares(shares_to)(shares)
        return material.shares_back(shares) if shares_to is None else written_shares(shares_to)

    _tell(move_seal(settings, opening, spec, new_passphrase, prove), as_json)


def _tell(moved: Moved, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "instance_id": moved.instance_id,
                "old_kind": moved.old_kind,
                "new_kind": moved.new_kind,
                "recovery_kit": moved.recovery_kit,
                "statement": moved.statement,
            }
        )
        return
    say(f"the seal is now {moved.new_kind}; it was opened to prove it")
    print_own(moved.recovery_kit + moved.statement)


def _settings() -> Settings:
    try:
        from overseer.server.settings import load_settings
        from overseer.server.storage import embedded  # noqa: F401 - shows whether the server's packages are there
    except ModuleNotFoundError as missing:
        raise ConfigurationProblem(
            f"the server's packages are not installed ({missing.name}): run this where the server runs"
        ) from None
    return load_settings()
