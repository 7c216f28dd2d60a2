"""The publisher as a launch agent of macOS, and what launchd is told; also what Windows is told instead."""

import json
import os
import plistlib
import sys

import pytest

from tests.publisher.unit.stand_ins import Machine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are programs with a #! line")


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path, "darwin")


def launchctl(*words: str) -> list[str]:
    return ["launchctl", *words]


@pytest.fixture
def gui() -> str:
    return f"gui/{os.getuid()}"


def test_install_writes_the_agent_and_starts_it(machine, gui):
    told = machine.run("install")
    assert told.returncode == 0, told.stderr
    target = f"{gui}/reveille-publisher"
    assert machine.told("launchctl", "systemctl") == [
        launchctl("enable", target), launchctl("bootout", target), launchctl("bootstrap", gui, str(machine.plist))
    ]
    agent = plistlib.loads(machine.plist.read_bytes())
    assert agent["ProgramArguments"][-3:] == ["run", "--config", str(machine.config)]
    assert agent["RunAtLoad"] and agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["Label"] == "reveille-publisher" and agent["ExitTimeOut"] == 60
    assert agent["StandardErrorPath"] == str(machine.home / "Library" / "Logs" / "reveille-publisher.log")
    assert (machine.home / "Library" / "Logs").is_dir()
    assert "reveille-publisher: running" in told.stdout and "process 77" in told.stdout


def test_installing_again_changes_nothing_while_it_is_loaded(machine):
    machine.run("install")
    machine.told()
    again = machine.run("install", "--json")
    assert json.loads(again.stdout)["changed"] is False and machine.told("launchctl") == []


def test_another_config_replaces_the_agent(machine, gui):
    machine.run("install")
    machine.told()
    other = machine.home / "b & <c> %d.json"
    other.write_bytes(machine.config.read_bytes())
    assert machine.run("install", "--config", str(other)).returncode == 0
    assert [words[1] for words in machine.told("launchctl")] == ["enable", "bootout", "bootstrap"]
    assert plistlib.loads(machine.plist.read_bytes())["ProgramArguments"][-1] == str(other)


def test_uninstall_stops_and_removes(machine, gui):
    machine.run("install")
    machine.told()
    assert machine.run("uninstall").returncode == 0
    assert machine.told("launchctl") == [launchctl("bootout", f"{gui}/reveille-publisher")]
    assert not machine.plist.exists()


def test_an_agent_that_does_not_leave_is_told(machine):
    machine.run("install")
    machine.answer({"launchctl bootout": ""})
    told = machine.run("uninstall")
    assert told.returncode == 1 and "still stops the old reveille-publisher" in told.stderr and machine.plist.exists()


def test_a_failure_is_told_with_the_log_s_last_lines(machine):
    machine.run("install")
    log = machine.home / "Library" / "Logs" / "reveille-publisher.log"
    log.write_text("".join(f"line {n}\n" for n in range(3000)))
    machine.answer({"launchctl print": "\tstate = waiting\n\tlast exit code = 2\n"})
    told = machine.run("status", "--json")
    status = json.loads(told.stdout)
    assert told.returncode == 1 and status["state"] == "failed" and status["detail"] == "exit code 2"
    assert status["log"] == [f"line {n}" for n in range(2995, 3000)]


def test_without_a_login_nothing_is_written(machine, gui):
    machine.answer({f"launchctl print {gui}": (1, "Domain does not support specified action")})
    told = machine.run("install")
    assert told.returncode == 1 and "nobody is logged in" in told.stderr and not machine.plist.exists()


def test_a_variable_of_this_shell_is_refused_for_an_agent_has_no_file_for_it(machine):
    machine.write(token="${THE_TOKEN}")
    machine.config.with_suffix(".env").write_text("THE_TOKEN=hush\n")
    told = machine.run("install", THE_TOKEN="hush")
    assert told.returncode == 2 and "use tokenFile" in told.stderr and ".env" not in told.stderr
    assert not machine.plist.exists()


def test_a_dry_run_prints_the_agent(machine):
    told = machine.run("install", "--dry-run")
    assert plistlib.loads(told.stdout.encode())["Label"] == "reveille-publisher"
    assert not machine.plist.exists() and machine.told("launchctl") == []


def test_an_agent_of_somebody_else_is_left_alone(machine):
    machine.plist.parent.mkdir(parents=True)
    machine.plist.write_bytes(plistlib.dumps({"Label": "x"}))
    assert machine.run("install").returncode == 1 and machine.run("uninstall").returncode == 1
    assert plistlib.loads(machine.plist.read_bytes()) == {"Label": "x"}


def test_windows_is_told_the_task_scheduler_s_command(tmp_path):
    machine = Machine(tmp_path, "win32")
    told = machine.run("install", "--config", str(machine.config))
    assert told.returncode == 1 and len(told.stderr.splitlines()) == 1
    assert "schtasks /Create /SC ONLOGON" in told.stderr and f'\\"{machine.config}\\"' in told.stderr
    assert "schtasks /Delete /TN reveille-publisher" in machine.run("uninstall").stderr
