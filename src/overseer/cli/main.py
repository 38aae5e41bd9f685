"""Where the command ``overseer`` begins.

Imports as little as it can: ``overseer --version`` answers without the command-line library, because scripts and completion start
the command very often. Everything else is in ``overseer.cli.program``.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command and leave with its exit code."""
    if sys.argv[1:] == ["--version"]:
        from overseer import __version__

        sys.stdout.write(f"overseer {__version__}\n")
        return
    from overseer.cli.program import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
