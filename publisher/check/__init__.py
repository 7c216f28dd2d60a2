"""Looks before the start: would a publisher with this config work, and if not, what is to be done.

One file for each subject. Nothing is published, woken, executed or changed.
"""
