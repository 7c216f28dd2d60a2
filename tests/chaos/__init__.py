"""Random deaths under load, and a check of what the clients lived through.

``load`` asks in every way that there is: a request (``asking``), a resumable stream (``resuming``), an idempotent request
(``repeating``), a durable task (``submitting``). ``havoc`` kills and starts again, ``run`` puts both on a stage of real
processes. What was lived through is a ``history``; what backends made of it is judged by ``generations``.
"""
