"""``overseer quickstart``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--once", is_flag=True, help="End after the proof, and stop everything.")
@click.option(
    "--data-dir", metavar="DIR", type=click.Path(path_type=Path), help="Where to keep data (default: $OVERSEER_DATA_DIR)."
)
def quickstart(once: bool, data_dir: Path | None) -> None:
    """Start everything on this machine and deploy the example.

    Sets up a server with a database of its own and the node 'local', deploys examples/shop with Docker (without Docker: runs a
    process), proves that its secrets arrived, and stays until Ctrl-C, which stops what it started; containers that you deployed
    yourself keep running ('overseer undeploy' stops them). Run again, it finds its data.
    """
    from overseer.cli.quickstart import Quickstart

    Quickstart(data_dir).run(once=once)
