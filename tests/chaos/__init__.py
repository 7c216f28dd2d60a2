"""Random deaths under load, and a check of what the clients lived through.

``load`` asks and writes down what it got (``history``), ``havoc`` kills and
starts again, ``run`` puts both on a stage of real processes.
"""
