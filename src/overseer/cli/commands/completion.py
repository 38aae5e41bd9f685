"""``overseer completion SHELL``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from overseer.cli.output import print_own


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  overseer completion bash > ~/.local/share/bash-completion/completions/overseer
    zsh:   overseer completion zsh > "${fpath[1]}/_overseer"
    fish:  overseer completion fish > ~/.config/fish/completions/overseer.fish
    """
    from overseer.cli.program import program

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    print_own(complete(program, {}, "overseer", "_OVERSEER_COMPLETE").source())
