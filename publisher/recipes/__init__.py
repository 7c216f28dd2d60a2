"""How a backend is woken and put to sleep: one file for each kind of step, ``run.py`` for their order.

Recipes come from the publisher's own config and from nowhere else; no shell is ever involved.
"""
