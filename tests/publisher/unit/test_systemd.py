"""The publisher as a unit of the user's systemd, and what systemd is told."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from publisher.unit.job import Job
from publisher.unit.systemd_unit import unit_text
from tests.publisher.unit.stand_ins import Machine

UNIT = "reveille-publisher.service"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are programs with a #! line")


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def systemctl(*words: str) -> list[str]:
    return ["systemctl", "--user", *words]


# ── install ─────────────────────────────────────────────────────────────────


def test_install_writes_the_unit_and_starts_it(machine):
    told = machine.run("install")
    assert told.returncode == 0, told.stderr
    assert machine.told("systemctl") == [
        systemctl("daemon-reload"), systemctl("enable", UNIT), systemctl("restart", "--no-block", UNIT)
    ]
    text = machine.unit.read_text()
    assert f'"run" "--config" "{machine.config}"' in text and "\nType=notify\n" in text
    assert "\nRestartPreventExitStatus=2 3\n" in text and "\nRestart=on-failure\n" in text
    assert "reveille-publisher: running (1 broker, 2 rows) since " in told.stdout and "process 55" in told.stdout
    assert "loginctl enable-linger" in told.stdout and "12:00:01 channel open" in told.stdout
    assert machine.unit.stat().st_mode & 0o777 == 0o644
    assert os.listdir(machine.unit.parent) == [UNIT]  # nothing half written is left


def test_installing_again_changes_nothing_while_it_runs(machine):
    machine.run("install")
    machine.told()
    before = machine.unit.stat()
    again = machine.run("install", "--json")
    assert json.loads(again.stdout)["changed"] is False
    assert machine.told("systemctl") == [systemctl("enable", UNIT)]
    assert machine.unit.stat().st_mtime_ns == before.st_mtime_ns


def test_installing_again_starts_one_that_does_not_run(machine):
    machine.run("install")
    (machine.home.parent / "state").unlink()
    machine.told()
    machine.run("install")
    assert machine.told("systemctl") == [systemctl("enable", UNIT), systemctl("restart", "--no-block", UNIT)]


def test_another_config_rewrites_the_unit_and_restarts(machine):
    machine.run("install")
    machine.told()
    other = machine.home / "o%ther $HOME \"x\" \\ é.json"
    other.write_bytes(machine.config.read_bytes())
    assert machine.run("install", "--config", str(other)).returncode == 0
    assert machine.told("systemctl") == [
        systemctl("daemon-reload"), systemctl("enable", UNIT), systemctl("restart", "--no-block", UNIT)
    ]
    assert r'o%%ther $$HOME \"x\" \\ é.json"' in machine.unit.read_text()


def test_a_relative_config_becomes_absolute(machine):
    machine.run("install", "--config", os.path.relpath(machine.config))
    (path,) = re.findall(r'"--config" "([^"]+)"', machine.unit.read_text())
    assert os.path.isabs(path) and os.path.samefile(path, machine.config)


def test_two_names_are_two_services(machine):
    machine.run("install")
    machine.run("install", "--name", "second.service")
    assert sorted(os.listdir(machine.unit.parent)) == [UNIT, "second.service"]


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "a/b", "x" * 65, "a@b", "é"])
def test_a_name_that_systems_would_not_take_is_refused(machine, name):
    assert machine.run("install", "--name", name).returncode == 2
    assert machine.told("systemctl") == [] and not machine.unit.exists()


def test_a_config_that_cannot_be_used_is_refused_before_anything_happens(machine):
    machine.config.write_text("{")
    told = machine.run("install")
    assert told.returncode == 2 and told.stderr.startswith("publisher: publisher.json") and told.stdout == ""
    assert len(told.stderr.splitlines()) == 1 and not machine.unit.exists() and machine.told("systemctl") == []


def test_a_missing_config_says_what_to_do(machine):
    machine.config.unlink()
    told = machine.run("install")
    assert told.returncode == 2 and "publisher init" in told.stderr


@pytest.mark.parametrize(
    "change, said", [({"providers": []}, "nothing to publish"), ({"broker": None}, "no broker")]
)
def test_a_config_that_publishes_nothing_or_nowhere_is_refused(machine, change, said):
    machine.write(**change) if change.get("broker", "") is not None else machine.config.write_text(
        json.dumps({key: value for key, value in json.loads(machine.config.read_text()).items() if key != "broker"}))
    told = machine.run("install")
    assert told.returncode == 2 and said in told.stderr and not machine.unit.exists()


def test_a_variable_of_this_shell_only_is_refused_with_the_file_to_write_it_to(machine):
    machine.write(token="${THE_TOKEN}")
    told = machine.run("install", THE_TOKEN="hush")
    assert told.returncode == 2 and "THE_TOKEN" in told.stderr and "publisher.env" in told.stderr
    assert "hush" not in told.stderr and not machine.unit.exists()


@pytest.mark.parametrize("line", ["THE_TOKEN=hush", "# x\n\nTHE_TOKEN='hush'", 'THE_TOKEN = "hush"'])
def test_a_variable_in_the_file_beside_the_config_will_do(machine, line):
    machine.write(token="${THE_TOKEN}")
    machine.config.with_suffix(".env").write_text(line)
    assert machine.run("install").returncode == 0
    assert "hush" not in machine.unit.read_text()
    assert f"EnvironmentFile=-{machine.config.with_suffix('.env')}\n" in machine.unit.read_text()


def test_a_variable_of_systemd_itself_will_do(machine):
    machine.write(token="${THE_TOKEN}")
    machine.answer({"systemctl --user show-environment": "HOME=/x\nTHE_TOKEN=hush\n"})
    assert machine.run("install").returncode == 0


def test_without_systemd_nothing_is_written(machine):
    machine.answer({"systemctl": (1, "Failed to connect to bus: No medium found\n")})
    told = machine.run("install")
    assert told.returncode == 1 and "no systemd of this user runs here" in told.stderr
    assert "No medium found" in told.stderr and "publisher run" in told.stderr and len(told.stderr.splitlines()) == 1
    assert not machine.unit.exists()


def test_without_the_program_nothing_is_written(tmp_path):
    machine = Machine(tmp_path, programs=())
    told = machine.run("install")
    assert told.returncode == 1 and "there is no systemctl here" in told.stderr and not machine.unit.exists()


def test_a_dry_run_prints_the_unit_even_without_systemd_and_writes_nothing(tmp_path):
    machine = Machine(tmp_path, programs=())
    told = machine.run("install", "--dry-run")
    assert told.returncode == 0 and "[Service]\n" in told.stdout and told.stdout.endswith("WantedBy=default.target\n")
    assert not machine.unit.parent.exists()
    assert json.loads(machine.run("install", "--dry-run", "--json").stdout)["text"] == told.stdout


def test_a_unit_of_somebody_else_is_left_alone(machine):
    machine.unit.parent.mkdir(parents=True)
    machine.unit.write_text("[Service]\nExecStart=/bin/true\n")
    for verb in ("install", "uninstall", "status"):
        told = machine.run(verb)
        assert told.returncode == 1 and "was not written by publisher service" in told.stderr
    assert machine.unit.read_text() == "[Service]\nExecStart=/bin/true\n"
    assert machine.told("systemctl") == []


def test_a_folder_that_cannot_be_written_is_one_line(machine):
    (machine.home / ".config" / "systemd").write_text("a file is in the way")
    told = machine.run("install")
    assert told.returncode == 1 and len(told.stderr.splitlines()) == 1 and "systemd" in told.stderr


def test_a_refusal_of_systemd_is_told(machine):
    machine.answer({"systemctl --user enable": (1, "Failed to enable unit:\n it is masked.\n")})
    told = machine.run("install")
    assert told.returncode == 1 and "Failed to enable unit: it is masked." in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_service_that_fails_at_once_is_told_with_its_last_lines(machine):
    machine.answer({"systemctl --user show reveille": "ActiveState=activating\nSubState=auto-restart\nMainPID=0\n"
                    "UnitFileState=enabled\nResult=exit-code\nExecMainStatus=1\nStatusText=\n"})
    told = machine.run("install")
    assert told.returncode == 1
    assert "reveille-publisher: failed (exit-code, exit code 1, is tried again)" in told.stdout
    assert "12:00:00 registered" in told.stdout


def test_a_start_that_waits_for_the_broker_is_no_failure(machine):
    machine.answer({"systemctl --user show reveille": "ActiveState=activating\nSubState=start\nMainPID=5\n"
                    "UnitFileState=enabled\nStatusText=waits for the broker\n"})
    told = machine.run("install")
    assert told.returncode == 0 and "starting (waits for the broker)" in told.stdout


def test_who_lingers_is_not_told_to(machine):
    machine.answer({"loginctl": "Linger=yes\n"})
    assert "enable-linger" not in machine.run("install").stdout


# ── uninstall, status ───────────────────────────────────────────────────────


def test_uninstall_stops_and_removes_and_leaves_the_config(machine):
    machine.run("install")
    machine.told()
    told = machine.run("uninstall")
    assert told.returncode == 0 and "is stopped and removed" in told.stdout
    assert machine.told("systemctl") == [
        systemctl("disable", "--now", UNIT), systemctl("daemon-reload"), systemctl("reset-failed", UNIT)
    ]
    assert not machine.unit.exists() and machine.config.exists()


def test_uninstalling_what_is_not_there_is_no_error(machine):
    assert "is not installed" in machine.run("uninstall").stdout
    told = machine.run("uninstall", "--json")
    assert json.loads(told.stdout) == {"name": "reveille-publisher", "removed": False} and told.returncode == 0
    assert machine.told("systemctl") == []


def test_a_unit_that_cannot_be_stopped_stays(machine):
    machine.run("install")
    machine.answer({"systemctl --user disable": (1, "no")})
    assert machine.run("uninstall").returncode == 1 and machine.unit.exists()


def test_status_tells_all_in_json(machine):
    machine.run("install")
    told = machine.run("status", "--json")
    status = json.loads(told.stdout)
    assert told.returncode == 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status.pop("since"))
    assert status == {
        "name": "reveille-publisher", "state": "running", "file": str(machine.unit), "installed": True, "enabled": True,
        "pid": 55, "detail": "1 broker, 2 rows", "log": ["12:00:00 registered", "12:00:01 channel open"],
        "logCommand": f"journalctl --user -u {UNIT}",
    }


def test_status_of_what_is_not_installed_says_so(machine):
    told = machine.run("status")
    assert told.returncode == 1 and "is not installed: publisher service install" in told.stdout
    assert json.loads(machine.run("status", "--json").stdout)["state"] == "absent"


def test_status_of_a_stopped_one_says_so(machine):
    machine.run("install")
    (machine.home.parent / "state").unlink()
    told = machine.run("status")
    assert told.returncode == 1 and "reveille-publisher: stopped" in told.stdout


def test_status_without_journal_or_times_still_answers(machine):
    machine.run("install")
    machine.answer({"journalctl": (1, "no journal"), "systemctl --user show": "nonsense\n"})
    told = machine.run("status", "--json")
    assert json.loads(told.stdout)["state"] == "stopped" and json.loads(told.stdout)["log"] == []


# ── the text, as systemd reads it ───────────────────────────────────────────


def job(words: tuple[str, ...], env_file: str = "/x/publisher.env", directory: Path | None = None) -> Job:
    return Job("n", Path(words[-1]), words, directory, "/usr/bin:/o%pt/$x/a \"b\"", Path(env_file))


def test_systemd_itself_finds_nothing_wrong(tmp_path):
    verify = shutil.which("systemd-analyze")
    if not verify:
        pytest.skip("there is no systemd-analyze here")
    program = tmp_path / "my %h $HOME prog é"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "n.service"
    unit.write_text(unit_text(job((str(program), "run", "--config", "/a b/%i;$x 'y' \"z\" \\t.json"),
                                  "/a [b]*/%i.env", tmp_path)))
    told = subprocess.run([verify, "--user", "--man=no", "verify", str(unit)], capture_output=True, text=True,
                          env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert "n.service" not in told.stderr and told.returncode == 0, told.stderr


def test_no_word_of_a_path_means_anything_to_systemd():
    text = unit_text(job(("/a %h/$b", "x$HOME", "%i", 'q"q', "b\\b"), "/a*b/%i.env", Path("/d %h")))
    assert 'ExecStart="/a %%h/$b" "x$$HOME" "%%i" "q\\"q" "b\\\\b"\n' in text
    assert "EnvironmentFile=-/a[*]b/%%i.env\n" in text and "WorkingDirectory=/d %%h\n" in text
    assert 'Environment="PATH=/usr/bin:/o%%pt/$x/a \\"b\\""\n' in text


@pytest.mark.parametrize("path", ["/a\nExecStartPre=/bin/evil", "/a\x1bb", "/a\udce9b", "/a\u2028b"])
def test_a_path_that_a_unit_cannot_hold_is_refused(machine, path):
    with pytest.raises(ValueError, match="a unit"):
        unit_text(job(("/x", path)))


def test_a_path_with_a_line_break_is_refused_in_one_line(machine):
    other = machine.home / "a\nb.json"
    other.write_bytes(machine.config.read_bytes())
    told = machine.run("install", "--config", str(other))
    assert told.returncode == 1 and "control characters" in told.stderr and len(told.stderr.splitlines()) == 1
