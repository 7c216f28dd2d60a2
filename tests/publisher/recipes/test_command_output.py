"""What a command prints: how much of it is told, and what is done with the rest."""

import asyncio
import os
import resource
import subprocess
import sys
import textwrap
import time

from publisher.recipes.command import run_command
from tests.publisher.recipes.programs import SLEEP, alive, child, command, failure_of, note_pid, noted
from tests.support.waiting import eventually


def test_another_exit_code_is_told_with_the_last_twenty_lines(play):
    async def test():
        code = "print('\\n'.join(map(str, range(100)))); print('no GPU'); raise SystemExit(3)"
        told = await failure_of(command(code))
        assert "ended with exit code 3: 81 / 82 / " in told and told.endswith(" / 99 / no GPU")

    play(test())


def test_what_goes_to_stderr_is_told_as_well_in_its_order(play):
    async def test():
        code = "import sys; print('one', flush=True); print('two', file=sys.stderr); raise SystemExit(1)"
        assert (await failure_of(command(code))).endswith("exit code 1: one / two")

    play(test())


def test_control_characters_and_broken_text_never_reach_the_message(play):
    async def test():
        code = r"import os; os.write(1, b'\x1b[31mred\x1b[0m\r50%\r100%\0\x07 caf\xe9\n'); raise SystemExit(1)"
        assert (await failure_of(command(code))).endswith("exit code 1: red / 50% / 100% caf\ufffd")

    play(test())


def test_a_flood_of_output_is_not_kept(play):
    async def test():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        flood = "import os; block = b'x' * 99 + b'\\n'\nfor _ in range(100): os.write(1, block * 10_000)\n"
        told = await failure_of(command(flood + "raise SystemExit(4)"))
        assert len(told) < 1200 and told.endswith("xx")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB

    play(test())


def test_a_flood_without_a_line_end_is_not_kept(play):
    async def test():
        told = await failure_of(command("import sys; sys.stdout.write('x' * 50_000_000); sys.exit(4)"))
        assert 900 < len(told) < 1200

    play(test())


def test_a_daemon_that_holds_the_output_open_does_not_hold_up_the_command(play, tmp_path):
    async def test():
        began = time.monotonic()
        await run_command(command(child(note_pid(tmp_path / "daemon") + SLEEP)))
        assert time.monotonic() - began < 5
        await eventually(lambda: (tmp_path / "daemon").exists())
        assert alive(noted(tmp_path / "daemon"))
        os.kill(noted(tmp_path / "daemon"), 9)

    play(test())


def test_a_daemon_left_behind_may_print_for_ever_even_after_the_publisher(tmp_path):
    """A pipe that nobody reads would end or stop it."""
    talks = note_pid(tmp_path / "daemon") + textwrap.dedent(f"""
        import time
        while True:
            print('x' * 100_000, flush=True)
            with open({str(tmp_path / 'beats')!r}, 'a') as beats: beats.write('.')
            time.sleep(0.01)
    """)
    publisher = textwrap.dedent(f"""
        import asyncio
        from publisher.recipes.command import run_command
        from tests.publisher.recipes.programs import command
        asyncio.run(run_command(command({child(talks)!r})))
    """)
    subprocess.run([sys.executable, "-c", publisher], check=True, timeout=20)

    async def test():
        beats = tmp_path / "beats"
        await eventually(beats.exists)
        size = beats.stat().st_size
        await eventually(lambda: beats.stat().st_size > size + 20)
        os.kill(noted(tmp_path / "daemon"), 9)

    asyncio.run(test())


def test_a_secret_of_the_step_s_environment_is_not_told_even_when_the_program_prints_it(play):
    async def test():
        told = await failure_of(command("import os; print('+ login', os.environ['KEY']); raise SystemExit(1)", env={"KEY": "sk-secret"}))
        assert told.endswith("exit code 1: + login …")

    play(test())


def test_a_long_complaint_is_told_by_its_end(play):
    async def test():
        told = await failure_of(command("print('x' * 5000, 'the reason'); raise SystemExit(1)"))
        assert told.endswith("the reason") and len(told) < 1200 and "… x" in told

    play(test())
