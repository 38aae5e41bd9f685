"""Rendering a Compose file of 20 services with 400 references, against the YAML parse alone, both in one run and alternately.

The floor is what no renderer on libyaml can avoid: the parser's events as PyYAML hands them out. Beside it stands PyYAML's
``compose`` (a tree of nodes), which is what reading a file usually means. Nothing is written and no process is started.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import yaml

from overseer.compose.grammar import Reference
from overseer.compose.render import render_file
from overseer.core.secret_value import SecretValue

SERVICES, PER_SERVICE, ROUNDS = 20, 20, 150

SERVICE = """  service-{n}:
    image: registry.example.org/team/service-{n}:1.{n}.0
    restart: unless-stopped
    depends_on:
      database: {{condition: service_healthy}}
      cache: {{condition: service_started}}
    environment:
      TZ: Europe/Berlin
      LOG_LEVEL: info
      DATABASE_HOST: database
{variables}    ports:
      - "80{n:02d}:80"
    networks: [front, back]
    volumes:
      - data-{n}:/var/lib/service
      - type: bind
        source: ./config/{n}
        target: /etc/service
        read_only: true
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost/health"]
      interval: 10s
      timeout: 3s
      retries: 5
    logging:
      driver: json-file
      options: {{max-size: 10m, max-file: "3"}}
    labels:
      traefik.enable: "true"
      traefik.http.routers.service-{n}.rule: Host(`service-{n}.example.org`)
    deploy:
      resources:
        limits: {{cpus: "0.50", memory: 256M}}
"""


def compose_file() -> tuple[bytes, dict[Reference, SecretValue]]:
    """The file and a value for each of its references."""
    values: dict[Reference, SecretValue] = {}
    text = "services:\n"
    for number in range(SERVICES):
        names = [f"service-{number}-password-{index}" for index in range(PER_SERVICE)]
        values |= {Reference(name): SecretValue(f"p4$$w0rd-{name}") for name in names}
        variables = "".join(f"      PASSWORD_{index}: ${{SECRET:{name}}}\n" for index, name in enumerate(names))
        text += SERVICE.format(n=number, variables=variables)
    return text.encode(), values


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``; times are medians in milliseconds."""
    data, values = compose_file()
    text = data.decode()
    assert render_file(data, values).text.reveal().count(b"p4$$$$w0rd-") == SERVICES * PER_SERVICE
    works: dict[str, Callable[[], object]] = {
        "events": lambda: list(yaml.parse(text, yaml.CSafeLoader)),
        "nodes": lambda: yaml.compose(text, yaml.CSafeLoader),
        "render": lambda: render_file(data, values),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()
            times[name].append(_seconds(work) * 1000)
    middle = {name: statistics.median(found) for name, found in times.items()}
    return [
        {
            "name": f"render 400 references / YAML {floor}",
            "value": round(middle["render"], 3),
            "unit": "ms",
            "floor": round(middle[floor], 3),
            "ratio": round(middle["render"] / middle[floor], 2),
            "aim": 2.0,
        }
        for floor in ("events", "nodes")
    ]


def main() -> None:
    """Print the rows."""
    for row in measure():
        print(f"{row['name']}: {row['value']} {row['unit']}, floor {row['floor']}, ratio {row['ratio']} (aim <= {row['aim']})")


if __name__ == "__main__":
    main()
