"""Awake and asleep: waking, falling asleep, exclusive groups, warm hours, and the looks that keep the word true."""
