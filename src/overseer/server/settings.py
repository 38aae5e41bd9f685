"""The settings of a server: a TOML file and environment variables of the same names; a variable wins over the file.

Every setting is defined once, in :data:`SETTINGS`, with its type, default and meaning: the reference page is made from there. A
key of the file that is not known is refused, a wrong value is refused by name and rule and never repeated, and neither
``repr`` nor an error shows the database's URL, which may hold a password.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from overseer.core.errors import ConfigurationProblem
from overseer.server.address_rules import AddressRule
from overseer.server.settings_tables import Tables, read_tables
from overseer.server.table_kinds import TABLE_KINDS

CONFIG_VARIABLE: Final = "OVERSEER_CONFIG"
CONFIG_FILE: Final = "overseer.toml"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_WORKERS: Final = 64
MAX_LIMIT: Final = 10_000
MAX_REQUESTS: Final = 1_000_000
METRICS_MODES: Final = ("off", "loopback", "token", "open")
SECOND_FACTOR: Final = ("optional", "required")
MAX_SESSION_HOURS: Final = 720
#: Last uses are written down in steps of half a minute, so a shorter limit would end sessions that are used.
MIN_IDLE_MINUTES: Final = 5
MAX_IDLE_MINUTES: Final = 1440
#: The database keeps what is younger, whatever it is asked (``audit_forget``).
MIN_AUDIT_DAYS: Final = 30
MAX_AUDIT_DAYS: Final = 36500
MAX_KEY_AGE_DAYS: Final = 730
MIN_KEY_USES: Final = 1 << 20
MAX_KEY_USES: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people read of it. ``type`` is a word of the reference: path, host:port, URL, integer, list, word."""

    name: str
    type: str
    default: str
    meaning: str
    secret: bool = False


SETTINGS: Final = (
    Setting(
        "OVERSEER_ALLOWED_HOSTS",
        "list",
        "",
        "Host names that requests may name beside loopback names and the listening host; without port. In a variable, "
        "separated by commas.",
    ),
    Setting(
        "OVERSEER_AUDIT_DAYS",
        "integer",
        "0",
        "How many days audit rows are kept, 30 or more; 0 keeps all. Older ones are removed up to a signed checkpoint, with a "
        "signed statement.",
    ),
    Setting(
        "OVERSEER_DATABASE_URL",
        "URL",
        "unset: an embedded PostgreSQL below the data directory",
        "PostgreSQL 15 or later, as libpq reads it: postgresql://user:password@host/database?sslmode=verify-full.",
        secret=True,
    ),
    Setting(
        "OVERSEER_DATA_DIR",
        "path",
        "/var/lib/overseer for root, else $XDG_DATA_HOME/overseer or ~/.local/share/overseer",
        "Where the key file, the owner's token, the embedded database and overseer.toml lie. Only a variable can set it.",
    ),
    Setting(
        "OVERSEER_KEY_MAX_AGE_DAYS",
        "integer",
        "365",
        "After how many days the key-encryption key is replaced by itself, 1 to 730; 0: never by age.",
    ),
    Setting(
        "OVERSEER_KEY_MAX_USES",
        "integer",
        "2147483648",
        "After how many encryptions it is replaced by itself: 1048576 (2^20) to 2147483648 (2^31), half of what is safe.",
    ),
    Setting(
        "OVERSEER_LIMIT_FAILURES",
        "integer",
        "10",
        "How many requests a second of one peer may fail for want of a live credential, and ten times as many at once; for each "
        "server process; 1 to 10000.",
    ),
    Setting(
        "OVERSEER_LIMIT_IN_FLIGHT",
        "integer",
        "256",
        "How many requests of one user, service account or node a server process answers at a time; a quarter of them may be "
        "long polls and event streams; 4 to 10000.",
    ),
    Setting(
        "OVERSEER_LIMIT_REQUESTS",
        "integer",
        "20000",
        "How many requests a second of one user, service account or node a server process takes, twice as many at once; 0: no "
        "limit. The default is above what a process can do: lower it to what your largest client needs.",
    ),
    Setting(
        "OVERSEER_LISTEN", "host:port", "127.0.0.1:8420", "Where to listen. An IPv6 address stands in brackets; port 0 takes any."
    ),
    Setting("OVERSEER_LOG_LEVEL", "word", "info", f"One of {', '.join(LOG_LEVELS)}. The access log is written at info."),
    Setting(
        "OVERSEER_METRICS",
        "word",
        "loopback",
        "Who may read /metrics: off, loopback (this machine, others with a token that holds metrics:read), token, or open.",
    ),
    Setting(
        "OVERSEER_PROXY_CA",
        "path",
        "unset: the last certificate of OVERSEER_TLS_CERT",
        "PEM file whose last certificate is the CA of the proxy that ends TLS: enrolment tokens pin it, so that agents can come "
        "through the proxy.",
    ),
    Setting(
        "OVERSEER_ROTATOR_NETWORKS",
        "list",
        "",
        "Networks beside the public ones in which rotators may connect to databases and webhooks, such as 10.20.0.0/16; "
        "plain:10.20.0.0/16 where connections need no TLS. Link-local addresses never.",
    ),
    Setting(
        "OVERSEER_SEAL",
        "word",
        "file:<data dir>/root.key",
        "What gives the root key: file:/path; env; passphrase; shamir:K/N (K of N shares); awskms:KEY with the options region "
        "and endpoint; vault-transit:https://HOST with key, mount, namespace, ca_file, token_file or token_env, or role_id with "
        "secret_id_file or secret_id_env. Options stand after ? and are joined by &. Secrets stand in the files and variables "
        "that it names, never in it.",
        secret=True,
    ),
    Setting(
        "OVERSEER_SECOND_FACTOR",
        "word",
        "optional",
        "required: who signs in with a password and has no second factor gets a session that can set one up and sign out, and "
        "nothing else. What an identity provider asks for is demanded by `acr` and `amr` of its table.",
    ),
    Setting("OVERSEER_SESSION_HOURS", "integer", "12", "How long somebody who signed in stays so, whatever they do; 1 to 720."),
    Setting("OVERSEER_SESSION_IDLE_MINUTES", "integer", "60", "How long a session lasts that is not used; 5 to 1440."),
    Setting("OVERSEER_TLS_CERT", "path", "unset", "PEM file with the certificate chain; together with OVERSEER_TLS_KEY."),
    Setting("OVERSEER_TLS_KEY", "path", "unset", "PEM file with the private key; nobody but its owner may read it."),
    Setting(
        "OVERSEER_TRUSTED_PROXIES",
        "list",
        "",
        "Networks of proxies that end TLS and whose X-Forwarded-For is believed, such as 10.0.0.0/8. With it a plain listener "
        "beyond loopback is allowed.",
    ),
    Setting("OVERSEER_WORKERS", "integer", "1", f"Server processes, 1 to {MAX_WORKERS}; one per core is the most that helps."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. ``database_url`` None means the embedded database."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8420
    database_url: str | None = field(default=None, repr=False)
    seal: str = field(default="", repr=False)
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxy_ca: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    rotator_networks: tuple[str, ...] = ()
    log_level: str = "info"
    audit_days: int = 0
    key_max_age_days: int = 365
    key_max_uses: int = MAX_KEY_USES
    second_factor: str = "optional"
    session_hours: int = 12
    session_idle_minutes: int = 60
    limit_failures: int = 10
    limit_in_flight: int = 256
    limit_requests: int = 20_000
    metrics: str = "loopback"
    tables: Tables = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.seal:
            object.__setattr__(self, "seal", f"file:{self.data_dir / 'root.key'}")
        _check(self)

    @property
    def url(self) -> str:
        """The base URL as written in the settings, for people and for programs on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers reach the server over TLS, its own or a proxy's; else it listens on loopback alone."""
        return self.tls_cert is not None or bool(self.trusted_proxies)


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises :class:`ConfigurationProblem` for the first setting that is wrong."""
    variables = os.environ if environment is None else environment
    data_dir = data_directory(variables)
    known = {setting.name for setting in SETTINGS} - {"OVERSEER_DATA_DIR"}
    kinds = {kind.word for kind in TABLE_KINDS}
    given: dict[str, Any] = _read_file(variables, data_dir, known | kinds)
    given |= {name: variables[name] for name in known if variables.get(name)}
    host, port = _listen(given.get("OVERSEER_LISTEN", "127.0.0.1:8420"))
    return Settings(
        data_dir=data_dir,
        host=host,
        port=port,
        database_url=_text(given, "OVERSEER_DATABASE_URL"),
        seal=_text(given, "OVERSEER_SEAL") or "",
        workers=_workers(given.get("OVERSEER_WORKERS", 1)),
        tls_cert=_path(given, "OVERSEER_TLS_CERT"),
        tls_key=_path(given, "OVERSEER_TLS_KEY"),
        proxy_ca=_path(given, "OVERSEER_PROXY_CA"),
        trusted_proxies=_list(given, "OVERSEER_TRUSTED_PROXIES"),
        allowed_hosts=_list(given, "OVERSEER_ALLOWED_HOSTS"),
        rotator_networks=_list(given, "OVERSEER_ROTATOR_NETWORKS"),
        log_level=_text(given, "OVERSEER_LOG_LEVEL") or "info",
        audit_days=_number(given.get("OVERSEER_AUDIT_DAYS", 0)),
        key_max_age_days=_number(given.get("OVERSEER_KEY_MAX_AGE_DAYS", 365)),
        key_max_uses=_number(given.get("OVERSEER_KEY_MAX_USES", MAX_KEY_USES)),
        tables=read_tables(given, TABLE_KINDS, variables),
        second_factor=_text(given, "OVERSEER_SECOND_FACTOR") or "optional",
        session_hours=_number(given.get("OVERSEER_SESSION_HOURS", 12)),
        session_idle_minutes=_number(given.get("OVERSEER_SESSION_IDLE_MINUTES", 60)),
        limit_failures=_number(given.get("OVERSEER_LIMIT_FAILURES", 10)),
        limit_in_flight=_number(given.get("OVERSEER_LIMIT_IN_FLIGHT", 256)),
        limit_requests=_number(given.get("OVERSEER_LIMIT_REQUESTS", 20_000)),
        metrics=_text(given, "OVERSEER_METRICS") or "loopback",
    )


def data_directory(environment: Mapping[str, str] | None = None) -> Path:
    """Where the data directory is, whether or not there is one."""
    variables = os.environ if environment is None else environment
    return Path(variables.get("OVERSEER_DATA_DIR") or _default_data_dir(variables)).expanduser().absolute()


def _check(settings: Settings) -> None:
    if settings.log_level not in LOG_LEVELS:
        raise ConfigurationProblem(f"OVERSEER_LOG_LEVEL is one of {', '.join(LOG_LEVELS)}")
    if not 1 <= settings.workers <= MAX_WORKERS:
        raise ConfigurationProblem(f"OVERSEER_WORKERS is a number from 1 to {MAX_WORKERS}")
    if settings.audit_days != 0 and not MIN_AUDIT_DAYS <= settings.audit_days <= MAX_AUDIT_DAYS:
        raise ConfigurationProblem(f"OVERSEER_AUDIT_DAYS is a number of days from {MIN_AUDIT_DAYS} to {MAX_AUDIT_DAYS}, or 0")
    if not 0 <= settings.key_max_age_days <= MAX_KEY_AGE_DAYS:
        raise ConfigurationProblem(f"OVERSEER_KEY_MAX_AGE_DAYS is a number of days up to {MAX_KEY_AGE_DAYS}, or 0")
    if not MIN_KEY_USES <= settings.key_max_uses <= MAX_KEY_USES:
        raise ConfigurationProblem(f"OVERSEER_KEY_MAX_USES is a number from {MIN_KEY_USES} to {MAX_KEY_USES}")
    if settings.second_factor not in SECOND_FACTOR:
        raise ConfigurationProblem(f"OVERSEER_SECOND_FACTOR is one of {', '.join(SECOND_FACTOR)}")
    if not 1 <= settings.session_hours <= MAX_SESSION_HOURS:
        raise ConfigurationProblem(f"OVERSEER_SESSION_HOURS is a number from 1 to {MAX_SESSION_HOURS}")
    if not MIN_IDLE_MINUTES <= settings.session_idle_minutes <= MAX_IDLE_MINUTES:
        raise ConfigurationProblem(f"OVERSEER_SESSION_IDLE_MINUTES is a number from {MIN_IDLE_MINUTES} to {MAX_IDLE_MINUTES}")
    _check_limits(settings)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigurationProblem("OVERSEER_TLS_CERT and OVERSEER_TLS_KEY are set together")
    AddressRule.parse(settings.rotator_networks, "OVERSEER_ROTATOR_NETWORKS")
    for network in settings.trusted_proxies:
        try:
            ip_network(network)
        except ValueError:
            raise ConfigurationProblem("OVERSEER_TRUSTED_PROXIES lists networks such as 10.0.0.0/8 or fd00::/8") from None
    if settings.host not in _LOOPBACK and settings.tls_cert is None and not settings.trusted_proxies:
        raise ConfigurationProblem(
            "OVERSEER_LISTEN is not a loopback address and there is no TLS: tokens and values would cross the network in the "
            "clear. Set OVERSEER_TLS_CERT and OVERSEER_TLS_KEY, or OVERSEER_TRUSTED_PROXIES where a proxy ends TLS"
        )


def _check_limits(settings: Settings) -> None:
    if not 1 <= settings.limit_failures <= MAX_LIMIT:
        raise ConfigurationProblem(f"OVERSEER_LIMIT_FAILURES is a number from 1 to {MAX_LIMIT}")
    if not 4 <= settings.limit_in_flight <= MAX_LIMIT:
        raise ConfigurationProblem(f"OVERSEER_LIMIT_IN_FLIGHT is a number from 4 to {MAX_LIMIT}")
    if not 0 <= settings.limit_requests <= MAX_REQUESTS:
        raise ConfigurationProblem(f"OVERSEER_LIMIT_REQUESTS is a number from 1 to {MAX_REQUESTS}, or 0")
    if settings.metrics not in METRICS_MODES:
        raise ConfigurationProblem(f"OVERSEER_METRICS is one of {', '.join(METRICS_MODES)}")


def _default_data_dir(variables: Mapping[str, str]) -> str:
    if os.geteuid() == 0:
        return "/var/lib/overseer"
    return f"{variables.get('XDG_DATA_HOME') or '~/.local/share'}/overseer"


def _read_file(variables: Mapping[str, str], data_dir: Path, known: set[str]) -> dict[str, Any]:
    named = variables.get(CONFIG_VARIABLE)
    path = Path(named) if named else data_dir / CONFIG_FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if named:
            raise ConfigurationProblem(f"{CONFIG_VARIABLE} names a file that does not exist") from None
        return {}
    except OSError:
        raise ConfigurationProblem(f"the configuration file {path} cannot be read") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError; their texts may quote the file
        where = getattr(error, "lineno", None)
        raise ConfigurationProblem(f"the configuration file {path} is not TOML" + (f", line {where}" if where else "")) from None
    unknown = sorted(set(content) - known)
    if unknown:
        raise ConfigurationProblem(
            f"the configuration file {path} has {len(unknown)} unknown key(s); known are {', '.join(sorted(known))}"
        )
    return content


def _listen(value: Any) -> tuple[str, int]:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    if not (colon and plain and port.isascii() and port.isdigit() and int(port) < 65536) or (":" in plain) != bracketed:
        raise ConfigurationProblem("OVERSEER_LISTEN is host:port, such as 127.0.0.1:8420 or [::1]:8420")
    return plain.lower(), int(port)


def _workers(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        return int(value)
    return value if type(value) is int else 0  # 0 is refused with the rule


def _number(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if type(value) is int else -1  # -1 is refused with the rule


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigurationProblem(f"{name} is a text")
    return value or None


def _path(given: Mapping[str, Any], name: str) -> Path | None:
    text = _text(given, name)
    return None if text is None else Path(text).expanduser().absolute()


def _list(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given.get(name, ())
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ConfigurationProblem(f"{name} is a list of texts")
    return tuple(part.strip() for part in parts if part.strip())
