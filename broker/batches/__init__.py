"""Batches: files of requests, run line by line as durable tasks, answered in files.

====================================================  ==================
a replica takes a batch that nobody runs              ``runner.py``
it reads the batch's lines, gives some of them at a   ``run.py``
time to the jobs, and writes down how each ended
a line is read, and made a job's request              ``intake.py``, ``lines.py``, ``orders.py``
an answer is made a line                              ``outcomes.py``
what was written down becomes the files               ``results.py``
====================================================  ==================

Nothing in here is whole in memory but the numbers of lines. Who runs a batch may die at any moment: what is on the disk
says which lines are done, and jobs know by their keys that they were asked before. It knows neither HTTP's server nor a
Redis command.
"""
