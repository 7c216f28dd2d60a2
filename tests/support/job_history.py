"""What became of durable tasks, and what of it breaks a promise: each ends, with one attempt's answer, whole and its own."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.support.brokers import Replica
from tests.support.jobs import events, result, submit, task


@dataclass
class Submitted:
    """A task, the words that mark its answer as its own, and how many of them there are to be."""

    name: str
    marker: str
    tokens: int

    @property
    def expected(self) -> list[str]:
        return [f"{self.marker}{number} " for number in range(self.tokens)]


async def submit_marked(
    broker: Replica, model: str, marker: str, *, tokens: int, delay_s: float, script: dict | None = None, **more
) -> Submitted:
    """``script``: what the backend is to do besides."""
    request = {"stream": True, "script": {"words": marker, "tokens": tokens, "delay_s": delay_s, **(script or {})}}
    made = await submit(broker, model, request=request, **more)
    return Submitted(made["id"], marker, tokens)


def words(body: bytes) -> list[str]:
    """What a streamed answer says; it must end as one that is whole."""
    payloads = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert payloads[-1] == b"[DONE]", payloads[-1:]
    return [json.loads(payload)["choices"][0]["delta"]["content"] for payload in payloads[:-1]]


async def violations(readers: list[Replica], submitted: list[Submitted], *, most_attempts: int) -> list[str]:
    """Broken promises, in words. Whatever is read is read at each of the ``readers``."""
    found = []
    for one in submitted:
        told = [await task(reader, one.name) for reader in readers]
        if any(other != told[0] for other in told):
            found.append(f"{one.marker} is told differently: {told}")
        attempts = told[0]["attempts"]
        good = [attempt for attempt in attempts if attempt["status"] == 200 and attempt["code"] is None]
        if told[0]["state"] != "done":
            found.append(f"{one.marker} is {told[0]['state']}: {told[0]}")
            continue
        if len(good) != 1 or attempts[-1] is not good[0]:
            found.append(f"{one.marker} has {len(good)} good attempts of {len(attempts)}")
        if len(attempts) > most_attempts or len({attempt["id"] for attempt in attempts}) != len(attempts):
            found.append(f"{one.marker} had the attempts {attempts}")
        answers = [await result(reader, one.name) for reader in readers]
        if any(answer[:2] != answers[0][:2] for answer in answers):
            found.append(f"{one.marker} has several results")
        if answers[0][0] != 200 or words(answers[0][1]) != one.expected:
            found.append(f"{one.marker} has the result {answers[0][:2]}")
        heard = [await events(reader, one.name) for reader in readers]
        if any(other != heard[0] for other in heard):
            found.append(f"{one.marker} has several histories")
        last = f"{len(attempts)}-"
        said = b"".join(b"data: %s\n\n" % payload for name, kind, payload in heard[0] if not kind and name.startswith(last))
        if said != answers[0][1]:
            found.append(f"{one.marker} says in its events {said!r}")
    return found
