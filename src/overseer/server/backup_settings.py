"""What an operator writes about backups that the server makes by itself or when it is asked: ``[backup.NAME]``.

Where a backup goes, and who can open it, stands in the configuration file alone: nobody who only holds a token can send the
store to a place of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError

from overseer.core.backup_retention import Retention
from overseer.core.errors import ConfigurationProblem, InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Passphrase, Recipient, Wrapper
from overseer.server.settings_tables import TableKind, key

MAX_KEPT: Final = 10_000
MIN_PASSPHRASE: Final = 12


@dataclass(frozen=True)
class BackupTarget:
    """One place for backups, who can open them, when they are made, and how many stay."""

    to: str = key("An absolute directory, or s3://BUCKET/PREFIX.")
    recipients: tuple[str, ...] = key("age public keys (age1…): whoever holds one of their identities can open a backup.", ())
    passphrase: SecretValue | None = key(f"Instead of recipients: a passphrase of {MIN_PASSPHRASE} characters or more.", None)
    schedule: str | None = key(
        "When the leader makes one, as cron writes it, in UTC: 15 3 * * * (every day at 3:15). Without it only when it is asked.",
        None,
    )
    keep_last: int = key("How many of the newest stay. 0 in all three keep_… keys: nothing is ever removed.", 0)
    keep_daily: int = key("For how many days with a backup the newest of the day stays.", 0)
    keep_weekly: int = key("For how many weeks with a backup the newest of the week stays.", 0)
    region: str | None = key("The bucket's region, where AWS's own configuration does not say it.", None)
    endpoint: str | None = key("URL of an S3-compatible service; without it AWS's.", None)

    def __post_init__(self) -> None:
        if not (self.to.startswith("/") or bucket_of(self.to)):
            raise ConfigurationProblem("to is an absolute directory or s3://BUCKET/PREFIX")
        if bool(self.recipients) == (self.passphrase is not None):
            raise ConfigurationProblem("write recipients or a passphrase: one of them, for backups are never plain")
        if self.passphrase is not None and len(self.passphrase.reveal()) < MIN_PASSPHRASE:
            raise ConfigurationProblem(f"passphrase has {MIN_PASSPHRASE} characters or more")
        try:
            for one in self.recipients:
                Recipient.parse(one)
        except InvalidInput as error:
            raise ConfigurationProblem(error.message) from None
        if not all(0 <= kept <= MAX_KEPT for kept in (self.keep_last, self.keep_daily, self.keep_weekly)):
            raise ConfigurationProblem(f"keep_last, keep_daily and keep_weekly are numbers up to {MAX_KEPT}")
        if self.schedule is not None:
            self.due_after(datetime(2000, 1, 1, tzinfo=UTC))

    def due_after(self, moment: datetime) -> datetime | None:
        """When the schedule comes round next after ``moment``; None without a schedule."""
        if self.schedule is None:
            return None
        try:
            return next(CronSim(self.schedule, moment.astimezone(UTC)))
        except (CronSimError, StopIteration):
            raise ConfigurationProblem("schedule is a cron expression of five fields, such as 15 3 * * *") from None

    @property
    def retention(self) -> Retention:
        return Retention(self.keep_last, self.keep_daily, self.keep_weekly)

    def sealing_keys(self) -> list[Wrapper]:
        """Who can open a backup."""
        if self.passphrase is not None:
            return [Passphrase(self.passphrase)]
        return [Recipient.parse(one) for one in self.recipients]


BACKUP: Final = TableKind("backup", BackupTarget, "A place where the server's own backups go.")


def bucket_of(text: str) -> tuple[str, str] | None:
    """Bucket and key or prefix of ``s3://BUCKET/KEY``, None where it is no such URL."""
    parts = urlsplit(text)
    plain = parts.scheme == "s3" and parts.netloc and not (parts.query or parts.fragment or "@" in parts.netloc)
    return (parts.netloc, parts.path.removeprefix("/")) if plain else None
