"""Awake and asleep: waking, falling asleep, exclusive groups, and the looks that keep the word true."""
