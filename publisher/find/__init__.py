"""Finds the LLM servers of this machine, and writes a first config file for them.

Fingerprints only: never a call that generates or loads anything.
"""
