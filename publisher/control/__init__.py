"""How a running publisher is asked and told things from the same machine, by the same user.

A local socket, one JSON line for each question. Nothing here is reachable from elsewhere.
"""
