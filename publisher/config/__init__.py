"""What people write for the publisher: the file, its shape, and the plain values that come of it.

``values.py`` is all that the rest of the program knows.
"""
