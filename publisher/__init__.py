"""Reveille's publisher: the program beside someone's LLM server.

It connects out to a broker, takes tasks from its channel, runs them at the local
server and posts back what the server said; it wakes that server when somebody
asks, and puts it to sleep when nobody does. Of the broker it imports
``broker.wire`` and the version, nothing else.

The rooms:

    cli        what people type                 config     what they write
    link       everything towards one broker    work       tasks: taken, run, answered
    published  the rows: endpoints, slots,      power      awake and asleep
               patterns                         recipes    how it is woken and put to sleep
    backends   the types of LLM server          find       detect, init
    tools      MCP servers for chats' tools
    control    asked while it runs              check      looked at before it runs
    terminal   what it shows                    unit       as a service of the system

The way of a task, step by step:

    the broker's frame arrives           link/channel.py
    a known task is ignored, else taken  work/worker.py
    it gets its timers and its ending    work/attempt.py
    it waits for a slot                  published/slots.py
    the backend sleeps: it is woken      power/power.py, recipes/run.py
    the backend is called                work/infer.py, backends/
    its frames queue up                  link/outgoing.py
    and leave in batches                 link/uploads.py, link/client.py
"""
