"""What LLM servers and their callers speak, and how one dialect is said in another.

A leaf: nothing here opens a connection, knows HTTP's server or Redis, or imports
more of the broker than itself, for the publisher translates with the same files.
"""
