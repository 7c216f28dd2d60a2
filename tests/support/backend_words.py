"""What the scripted backend (``backend.py``) says, as its ``Script`` wants it; knows nothing of connections."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass


@dataclass
class Script:
    tokens: int = 3
    delay_s: float = 0.0  # before each token
    words: str = "tök€n"  # what a token says, with characters of several bytes
    token_bytes: int = 0  # pads each token
    hang: str = ""  # "head": never answers; "stream": stops after the last token
    status: int = 200
    retry_after: str = ""
    html: bool = False
    break_after: int = -1  # hangs up after that many tokens
    crlf: bool = False
    comments: bool = False
    no_space: bool = False
    no_done: bool = False
    torn: bool = False  # every byte is a write of its own
    echo: bool = False  # the answer is the request's body
    latin1: bool = False  # bytes that are not UTF-8
    malformed: bool = False  # not HTTP
    numbered: bool = False  # the answer's id is the request's number among those that the backend saw
    fails_first: int = 0  # that many requests with the same body are answered 503 first
    held: str = ""  # "head": nothing until `POST /release`; "stream": nothing after the first token until then


def event(payload: str, script: Script) -> bytes:
    text = f"data:{'' if script.no_space else ' '}{payload}\n\n"
    if script.comments:
        text = f": ping\n\nevent: message\nid: 7\n{text}"
    return text.replace("\n", "\r\n" if script.crlf else "\n").encode()


def word(script: Script, number: int) -> str:
    return f"{script.words}{number} " + "x" * script.token_bytes


def chunk(asked: dict, script: Script, number: int) -> dict:
    delta: dict = {"content": word(script, number)}
    if calls(asked):
        call = {"index": 0, "function": {"arguments": "{" if number == 0 else ""}}
        if number == 0:
            call |= {"id": "call_1", "type": "function"}
            call["function"]["name"] = asked["tools"][0]["function"]["name"]
        if number == script.tokens - 1:
            call["function"]["arguments"] += "}"
        delta = {"tool_calls": [call]}
    return {"id": asked["id"], "object": "chat.completion.chunk", "model": asked.get("model"),
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def usage_chunk(asked: dict, script: Script) -> dict:
    return {"id": asked["id"], "object": "chat.completion.chunk", "model": asked.get("model"), "choices": [], "usage": usage(script)}


def usage(script: Script) -> dict:
    return {"prompt_tokens": 1, "completion_tokens": script.tokens, "total_tokens": 1 + script.tokens}


def text_completion(asked: dict, script: Script) -> dict:
    text = "".join(word(script, number) for number in range(script.tokens))
    return {"id": asked["id"], "object": "text_completion", "model": asked.get("model"), "usage": usage(script),
            "choices": [{"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}]}


def completion(asked: dict, script: Script) -> dict:
    message: dict = {"role": "assistant", "content": "".join(word(script, n) for n in range(script.tokens))}
    if calls(asked):
        call = {"name": asked["tools"][0]["function"]["name"], "arguments": "{}"}
        message = {"role": "assistant", "content": None,
                   "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
    return {"id": asked["id"], "object": "chat.completion", "model": asked.get("model"), "usage": usage(script), "unknown_field": 1.0,
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls(asked) else "stop"}]}


def calls(asked: dict) -> bool:
    """Whether it calls its first tool: until it is told what that gave."""
    return bool(asked.get("tools")) and asked["messages"][-1]["role"] != "tool"


def embeddings(asked: dict) -> dict:
    given = asked.get("input", "")
    vector: object = [0.25, -1.0, 0.5]
    if asked.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", 0.25, -1.0, 0.5)).decode()
    texts = given if isinstance(given, list) else [given]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(texts))]
    return {"object": "list", "data": data, "model": asked.get("model"), "usage": {"prompt_tokens": 1, "total_tokens": 1}}
