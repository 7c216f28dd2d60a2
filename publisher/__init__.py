"""Reveille's publisher: the program beside someone's LLM server.

It connects out to a broker, takes tasks from its channel, runs them at the local
server and posts back what the server said. Of the broker it imports
``broker.wire`` and the version, nothing else.

The way of a task, step by step:

    the broker's frame arrives           channel.py
    a known task is ignored, else taken  worker.py
    it gets its timers and its ending    attempt.py
    the backend is called                infer.py, backend.py, sse.py
    the backend sleeps: it is woken      wake.py, recipe.py
    its frames queue up                  outgoing.py
    and leave in batches                 uploads.py, client.py
"""
