"""[backup.NAME]: what is refused, and when a schedule comes round."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.crypto.age_keys import Identity, Passphrase
from overseer.server.backup_settings import BACKUP, BackupTarget
from overseer.server.settings_tables import read_tables

KEY = str(Identity.generate().recipient)


def read(environment: dict[str, str] | None = None, **table: Any) -> BackupTarget:
    return BACKUP.read(read_tables({"backup": {"nightly": table}}, [BACKUP], environment or {}))["nightly"]


def test_a_table_is_read() -> None:
    target = read(to="/srv/backups", recipients=[KEY], schedule="15 3 * * *", keep_last=3)
    assert [str(one) for one in target.sealing_keys()] == [KEY]
    assert target.retention.last == 3
    assert target.due_after(datetime(2026, 1, 1, 3, 15, tzinfo=UTC)) == datetime(2026, 1, 2, 3, 15, tzinfo=UTC)
    by_word = read({"WORD": "correct horse battery"}, to="s3://bucket/overseer", passphrase="env:WORD")
    assert isinstance(by_word.sealing_keys()[0], Passphrase)
    assert by_word.due_after(datetime.now(UTC)) is None


@pytest.mark.parametrize(
    "table",
    [
        {"to": "relative", "recipients": [KEY]},
        {"to": "http://bucket", "recipients": [KEY]},
        {"to": "s3://key:secret@bucket/x", "recipients": [KEY]},
        {"to": "/srv"},
        {"to": "/srv", "recipients": ["age1nonsense"]},
        {"to": "/srv", "recipients": [KEY], "passphrase": "env:WORD"},
        {"to": "/srv", "passphrase": "env:SHORT"},
        {"to": "/srv", "recipients": [KEY], "schedule": "every day"},
        {"to": "/srv", "recipients": [KEY], "keep_last": -1},
    ],
)
def test_what_is_wrong_is_refused_without_a_value(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationProblem) as refused:
        read({"WORD": "correct horse battery", "SHORT": "hunter2"}, **table)
    assert "hunter2" not in refused.value.message
    assert "correct horse" not in refused.value.message
