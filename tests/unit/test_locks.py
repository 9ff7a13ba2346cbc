import json
import os
import subprocess
import sys

import psutil

from meanfield import locks


def locked(folder, age=0.0):
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    lock = folder / "locks/0.output.lock"
    lock.write_text("results/x.nc", encoding="utf-8")
    os.utime(lock, (lock.stat().st_atime, lock.stat().st_mtime - age))
    return lock


def dead_run(folder):
    note = locks.note_run(folder)
    found = json.loads(note.read_text(encoding="utf-8"))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    note.rename(note.with_name("dead.json"))
    note.with_name("dead.json").write_text(json.dumps({**found, "pid": child.pid}), encoding="utf-8")


def test_locks_of_a_dead_run_are_lifted(tmp_path):
    lock = locked(tmp_path)
    dead_run(tmp_path)
    assert locks.lift_stale_locks(tmp_path)
    assert not lock.exists()
    assert not list((tmp_path / "runs").iterdir())


def test_locks_of_a_living_run_stay(tmp_path):
    lock = locked(tmp_path)
    dead_run(tmp_path)
    locks.note_run(tmp_path)
    assert not locks.lift_stale_locks(tmp_path)
    assert lock.exists()
    locks.forget_run(tmp_path)
    assert locks.lift_stale_locks(tmp_path)


def test_a_number_that_another_process_has_now_is_not_the_run(tmp_path):
    lock = locked(tmp_path)
    note = locks.note_run(tmp_path)
    found = json.loads(note.read_text(encoding="utf-8"))
    assert found["start"] == psutil.Process().create_time()
    note.write_text(json.dumps({**found, "start": found["start"] - 1000}), encoding="utf-8")
    assert locks.lift_stale_locks(tmp_path)
    assert not lock.exists()


def test_locks_of_another_machine_stay(tmp_path):
    lock = locked(tmp_path, age=1e6)
    note = locks.note_run(tmp_path)
    found = json.loads(note.read_text(encoding="utf-8"))
    note.write_text(json.dumps({**found, "host": "elsewhere", "pid": 1}), encoding="utf-8")
    assert not locks.lift_stale_locks(tmp_path)
    assert lock.exists()


def test_a_lock_without_a_note_is_stale_only_when_old(tmp_path):
    lock = locked(tmp_path, age=5)
    assert not locks.lift_stale_locks(tmp_path)
    assert lock.exists()
    locked(tmp_path, age=600)
    assert locks.lift_stale_locks(tmp_path)
    assert not lock.exists()


def test_nothing_happens_where_there_is_nothing(tmp_path):
    assert not locks.lift_stale_locks(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/x.json").write_text("no json", encoding="utf-8")
    assert not locks.lift_stale_locks(tmp_path)
