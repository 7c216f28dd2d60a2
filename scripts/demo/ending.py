"""How a story ends: well, with a reason, or because somebody said stop.

In each case everything that it started is stopped first.
"""

from __future__ import annotations

import asyncio
import signal

from demo.chat import AskFailed
from demo.part import PartFailed
from demo.place import Place
from demo.story import Story
from demo.voice import Voice
from publisher.config.values import Provider


def tell(voice: Voice, provider: Provider | None, *, port: int | None, once: bool) -> int:
    """Tells the story with that LLM, or with the demo; the exit code."""
    with Place.temporary() if once else Place.of_user() as place:
        return asyncio.run(_until_signal(voice, Story(voice, place, port=port, provider=provider), once))


async def _until_signal(voice: Voice, story: Story, once: bool) -> int:
    telling = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
    try:
        async with story:
            await story.tell()
            if not once:
                await story.stay()
        return 0
    except asyncio.CancelledError:
        voice.say("Everything is stopped." if story.told else "Stopped before the end.")
        return 0 if story.told and not once else 1
    except (PartFailed, AskFailed) as failure:
        voice.failed(str(failure))
        return 1
