"""The commands of a how-to page, taken from its text and run by a shell as a reader would run them.

Guarantees: nothing is run that the page does not say, but for the places where it says ``your server``: each of those is named by
the test, has to be found in the page, and is replaced. What a ``console`` block shows below a command has to be printed by it. A
block that the test walked past is told by :meth:`HowTo.left`.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).parents[3] / "docs" / "how-to"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Reader:
    """A person at a terminal: where they are, and their environment."""

    place: Path
    environment: Mapping[str, str]

    def does(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run these lines; every one of them has to go well."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        environment = {**self.environment, **variables}
        done = subprocess.run(
            command,
            cwd=self.place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
            text=True,
        )
        assert done.returncode == 0, (script, done.returncode, done.stdout, done.stderr)
        return done


class HowTo:
    """One page; ``places`` maps what it says to what stands there in the test."""

    def __init__(self, page: str, places: Mapping[str, str]) -> None:
        self._text = (PAGES / page).read_text()
        self._places = dict(places)
        for said in places:
            assert said in self._text, (page, said)
        self._blocks = [(kind, textwrap.dedent(body)) for _, kind, body in _BLOCK.findall(self._text)]
        self._walked: set[str] = set()

    def puts(self, said: str, there: str) -> None:
        """One more place, which is known only now."""
        assert said in self._text, said
        self._places[said] = there

    def block(self, holds: str) -> str:
        """The one block that has this text, with the test's places in it."""
        [found] = [body for _, body in self._blocks if holds in body]
        self._walked.add(found)
        for said, there in self._places.items():
            found = found.replace(said, there)
        return found

    def run(self, reader: Reader, holds: str, **variables: str) -> str:
        """Run the block with this text; what it printed. Of a ``console`` block what is shown is compared."""
        [kind] = [kind for kind, body in self._blocks if holds in body]
        text = self.block(holds)
        if kind != "console":
            done = reader.does(text, **variables)
            return done.stdout + done.stderr
        printed = ""
        for command, shown in _typed(text):
            done = reader.does(command, **variables)
            printed += done.stdout + done.stderr
            for line in shown:
                assert line in (done.stdout + done.stderr).splitlines(), (command, line, done.stdout, done.stderr)
        return printed

    def inline(self, reader: Reader, command: str) -> str:
        """Run a command that the page says in a sentence."""
        assert f"`{command}`" in self._text, command
        done = reader.does(command)
        return done.stdout + done.stderr

    def left(self) -> list[str]:
        """The blocks of commands and settings that were not walked."""
        return [body for kind, body in self._blocks if body not in self._walked and kind in ("sh", "console", "toml")]


def _typed(text: str) -> list[tuple[str, list[str]]]:
    """Each command after a ``$`` with its continuation, and the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found[-1][0].endswith("\\"):
            found[-1] = (found[-1][0][:-1] + line, [])
        else:
            found[-1][1].append(line)
    return found
