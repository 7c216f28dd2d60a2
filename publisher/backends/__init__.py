"""The LLM servers that a publisher can stand beside: ``seam.py`` says what one can do, one file a type does it.

Nothing here knows a broker, and nothing is ever sent but to the address that was configured.
"""
