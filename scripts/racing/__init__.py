"""Requests against falling asleep: a broker, Redis and a publisher as processes, engines that tell on them.

``engines`` notice when they are disturbed, ``riders`` ask at the wrong moment,
``hands`` meddle, ``answers`` judges what came back, ``race`` puts them on a stage.
"""
