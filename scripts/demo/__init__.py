"""What ``scripts/run`` shows: the main job, with everything real but the LLM.

    the order of things          story.py
    how it ends                  ending.py
    one process of the story     part.py
    where its files are          place.py
    the LLM that only echoes     backend.py
    what is published, asleep    sleeper.py
    the command that wakes it    wake.py
    a real LLM server instead    local.py
    the request that is made     chat.py
    how it is told               voice.py
"""
