"""One request's journey.

=====================================================================  =============================
what happens                                                           where
=====================================================================  =============================
1. a client posts; the body stays raw, `model` and `stream` are read   ``http/calls.py``
2. the exchange opens, then one script takes a slot, or a place in     ``relay.py``, ``exchange.py``,
   line (and starts the one wake), and writes the task                 ``lua/task_dispatch.lua``
3. the replica that holds the publisher's channel hears its doorbell   ``post.py``, ``channel.py``
4. it writes the frame to the publisher                                ``http/channel.py``
5. the publisher asks its backend and posts frames to any replica      ``http/results.py``
6. frames are checked and gathered, one item per task                  ``inbound.py``
7. one script fences them, hands them to the asking replica's stream   ``lua/task_results.lua``
   and, with the last, ends the task and lets the next one in
8. that replica's one reader hands them to the exchange                ``post.py``, ``exchange.py``
9. the client gets status, headers, bytes                              ``http/answers.py``
=====================================================================  =============================

A reply that is kept (`docs/streams.md`) is in Redis as well from step 7 on, and whoever follows it
gets it from there: `following.py`; `numbering.py` gives its events ids. What an upstream answers is
put there by `keeper.py`.

A durable task (`docs/tasks.md`; here a *job*) enters at step 7's other side: `claimer.py` lets a script begin its
attempts, which are kept tasks that nobody waits for. `durable.py` holds what a replica does for all of them; `job_watch.py` and
`job_events.py` are for those who read, `webhooks.py` for those who are told.

Every end is an end of step 8's exchange: answer, error, deadline, too long in
line, silence, client gone. Nothing in this room knows aiohttp's server or a
Redis command.
"""
