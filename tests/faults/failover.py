"""A primary that dies and a synchronous standby that takes its place; and a disk that is full. Each on a database of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from overseer.server.storage.postgres_account import Account, server_account
from overseer.server.storage.postgres_cluster import ENVIRONMENT
from overseer.server.storage.postgres_programs import find_programs, usable_programs
from tests.faults.load import Load
from tests.faults.stage import Background, Stage
from tests.faults.table import NotAsExpected, fault, require

STANDBY = "standby"
SMALL = "176m"
LEFT = 4 << 20
VALUE = "the-value-that-must-not-leave-without-a-row"


class Standby:
    """A streaming copy of the stage's database, run under the same account; PostgreSQL's own tools make it."""

    def __init__(self, stage: Stage) -> None:
        self._account: Account = server_account()
        self._programs = usable_programs(find_programs(None), self._account).directory
        self.data, self.sockets = stage.home / "standby", stage.home / "standby-run"
        primary = stage.home / "data" / "postgres"
        rules = {
            "pg_hba.conf": "local replication all peer map=overseer\n",
            "pg_ident.conf": f'overseer "{_name_of(self._account)}" postgres\n',
        }
        for name, text in rules.items():
            with (primary / name).open("a") as file:
                file.write(text)
        stage.sql("SELECT pg_reload_conf()")
        (stage.home / "data").chmod(0o711)  # the account of the databases comes through to the primary's socket
        for directory in (self.data, self.sockets):
            directory.mkdir(mode=0o700)
            self._account.own(directory)
        socket = os.fspath((stage.home / "data" / "postgres-socket").resolve())
        source = f"postgresql://postgres@/?host={socket}"
        self._run("pg_basebackup", "-d", source, "-D", self.data, "-R", "-X", "stream", "-c", "fast")
        options = ("-c", f"cluster_name={STANDBY}", "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700")
        with (stage.home / "standby.log").open("wb") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-k", self.sockets, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, cwd="/", start_new_session=True,
                **self._account.popen_arguments(),
            )  # fmt: skip

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], env=ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False,
            **self._account.popen_arguments(),
        )  # fmt: skip
        require(done.returncode == 0, f"{program}: {done.stderr}")

    def promote(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "promote")

    def receiver(self) -> int:
        """The process that takes the log from the primary, and answers it."""
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if f"{STANDBY}: walreceiver" in entry.read_text(errors="replace"):
                    parent = (entry.parent / "stat").read_text().rpartition(")")[2].split()[1]
                    if int(parent) == self.process.pid:
                        return int(entry.parent.name)
        raise NotAsExpected("the standby does not follow the primary")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def _name_of(account: Account) -> str:
    import pwd

    return pwd.getpwuid(os.geteuid() if account.user is None else account.user).pw_name


@contextmanager
def _stage_of_its_own(home: Path, stage: Stage) -> Iterator[Stage]:
    home.mkdir(mode=0o711, exist_ok=True)
    made = Stage(home, kills=0, seed=stage.seed)
    try:
        made.ensure_serving()
        yield made
    finally:
        made.close()


@fault("synchronous standby does not answer", "503: nothing acknowledged, no value released; then all goes on")
def standby_silent(stage: Stage) -> str:
    with _stage_of_its_own(stage.home / "frozen", stage) as ha:
        standby = Standby(ha)
        try:
            _make_synchronous(ha)
            made = ha.create("kept", VALUE)
            os.kill(standby.receiver(), signal.SIGSTOP)
            began = time.monotonic()
            asked = [
                Background(lambda: ha.http("POST", "/api/secrets", {"name": "unsure", "value": VALUE})),
                Background(lambda: ha.reveal(made["id"])),
                Background(lambda: ha.http("POST", "/api/resolve", {"names": ["kept"]})),
            ]
            _cancel_waiting(ha, len(asked))  # as an administrator, or the statement's own time-out, would
            timed = Background(lambda: ha.reveal(made["id"]))
            refused = [one.result() for one in [*asked, timed]]
            took = time.monotonic() - began
            os.kill(standby.receiver(), signal.SIGCONT)
            for answer in refused:
                require(answer.status_code == 503, f"{answer.status_code}: {answer.text[:100]}")
                require(VALUE not in answer.text, "a value was released")
            ha.await_ready()
            require(ha.reveal(made["id"]).status_code == 200, "it did not recover")
            return f"{len(refused)} times 503 in {took:.1f} s, of which {len(asked)} had their wait cancelled; 200 afterwards"
        finally:
            ha.server.stop()
            standby.stop()


def _cancel_waiting(stage: Stage, number: int) -> None:
    deadline = time.monotonic() + 8
    waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    while int(stage.sql(f"SELECT count(*) {waiting}")) < number:
        require(time.monotonic() < deadline, "the commits do not wait for the standby")
        time.sleep(0.05)
    stage.sql(f"SELECT pg_cancel_backend(pid) {waiting}")


@fault("database fails over to a synchronous standby", "503 meanwhile; recovery without a restart; no acknowledged write lost")
def failover(stage: Stage) -> str:
    with _stage_of_its_own(stage.home / "ha", stage) as ha:
        standby = Standby(ha)
        try:
            _make_synchronous(ha)
            primary = os.fspath((ha.home / "data" / "postgres-socket").resolve())
            url = f"postgresql://overseer@/overseer?host={primary},{standby.sockets}"
            # A directory of its own: the server would close that of the database to all others again.
            ha.settings = ha.settings | {"OVERSEER_DATA_DIR": str(ha.home / "server")}
            ha.use_database(url, f"postgresql://postgres@/overseer?host={primary}")
            ha.start_server()
            process = ha.server.process.pid
            with Load(ha, ha.seed) as load:
                time.sleep(1.5)
                written = sum(len(one.acknowledged) for one in load.writers)
                _kill_cluster(ha)
                time.sleep(0.5)
                began = time.monotonic()
                standby.promote()
                ha.use_database(url, f"postgresql://postgres@/overseer?host={standby.sockets}")
                ha.sql("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
                ha.await_ready()
                took = time.monotonic() - began
                time.sleep(1.0)
            after = sum(len(one.acknowledged) for one in load.writers)
            require(written > 10 and after > written, f"{written} writes before, {after} at the end")
            require(ha.server.process.poll() is None and ha.server.process.pid == process, "the server was restarted")
            return f"ready {took:.1f} s after the promotion began, same process; {load.verify()}"
        finally:
            ha.server.stop()
            standby.stop()


def _make_synchronous(stage: Stage) -> None:
    stage.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'", "SELECT pg_reload_conf()")
    deadline = time.monotonic() + 20
    while stage.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1":
        require(time.monotonic() < deadline, "the standby never was synchronous")
        time.sleep(0.1)


def _kill_cluster(stage: Stage) -> None:
    """``kill -9`` of the postmaster; its backends end when they notice. It is not started again."""
    postgres = stage.installation.postgres
    if postgres.process_id is None:
        raise RuntimeError("the database is not ours")
    os.kill(postgres.process_id, signal.SIGKILL)
    postgres.stop()


@fault("disk full", "writes and audited reads fail closed; afterwards all is there")
def disk_full(stage: Stage) -> str:
    small = stage.home / "small"
    small.mkdir(mode=0o711)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0711", "overseer-faults", small], capture_output=True, check=False
    )
    if mounted.returncode:
        raise NotAsExpected("a small tmpfs could not be mounted: this row needs root")
    try:
        with _stage_of_its_own(small / "stage", stage) as full:
            return _fill_and_see(full, small / "filler")
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def _fill_and_see(stage: Stage, filler: Path) -> str:
    made, kept, reads = stage.create("kept", VALUE), dict[str, str](), list[tuple[str, int]]()
    _fill(filler, leave=LEFT)
    writes = _write_until_refused(stage, made["id"], kept, reads)
    live = stage.http("GET", "/health/live").status_code
    _fill(filler, leave=0)
    for _ in range(20):  # and now the log: every audited read needs it
        with suppress(RuntimeError):
            stage.sql("SELECT pg_switch_wal()")
        if _read(stage, made["id"], reads) == 503:
            break
    filler.unlink()
    stage.installation.postgres.stop()  # where it gave up altogether; a start finds what is there
    stage.installation.postgres.start()
    stage.await_ready()
    refused = sum(status == 503 for _, status in reads)
    require(set(writes) == {201, 503} and refused, f"writes {set(writes)}, {refused} reads refused")
    require(live == 200, f"live {live}")
    lost = [one for one, content in kept.items() if stage.reveal(one).json().get("value") != content]
    require(not lost, f"{len(lost)} of {len(kept)} acknowledged writes are lost")
    rows = stage.sql("SELECT request_id FROM audit WHERE action = 'secret:reveal' AND outcome = 'allowed'").split()
    unaudited = [one for one, status in reads if status == 200 and one not in rows]
    require(not unaudited, f"{len(unaudited)} values were released without a row")
    answers = f"{writes.count(503)} of {len(writes)} writes and {refused} of {len(reads)} reads got 503"
    return f"{answers}; {len(kept)} acknowledged writes are all there, every released value has its row"


def _fill(filler: Path, leave: int) -> None:
    """Take all that is left of the file system but ``leave`` bytes."""
    with filler.open("ab", buffering=0) as file, suppress(OSError):  # a buffer would be written once more when it is closed
        while True:
            file.write(bytes(1 << 16))
    if leave:
        os.truncate(filler, max(0, filler.stat().st_size - leave))


def _write_until_refused(stage: Stage, read: str, kept: dict[str, str], reads: list[tuple[str, int]]) -> list[int]:
    statuses: list[int] = []
    while statuses.count(503) < 5 and len(statuses) < 500:
        content = os.urandom(24 * 1024).hex()
        answer = stage.http("POST", "/api/secrets", {"name": f"filled-{len(statuses)}", "value": content})
        statuses.append(answer.status_code)
        if answer.status_code == 201:
            kept[answer.json()["id"]] = content
        _read(stage, read, reads)
    return statuses


def _read(stage: Stage, secret_id: str, reads: list[tuple[str, int]]) -> int:
    request_id = f"full-{len(reads)}"
    answer = stage.http("POST", f"/api/secrets/{secret_id}/value", {}, x_request_id=request_id)
    require(answer.status_code in (200, 503), f"a read: {answer.status_code}")
    require(answer.status_code == 200 or VALUE not in answer.text, "a value was released with an error")
    reads.append((request_id, answer.status_code))
    return answer.status_code
