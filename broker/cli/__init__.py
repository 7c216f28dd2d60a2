"""The ``broker`` command as a client: it reads, makes, edits and deletes rows of a running broker, and chats.

It speaks HTTP only and never looks into Redis. Each module is loaded when it is
needed, so that ``--help`` and completion load none of the heavy ones.
"""
