"""Public LLMs: the broker calls their upstream itself, over HTTP.

``guard`` says which addresses may be reached, ``languages`` how each type is
spoken to, ``caller`` makes the call, ``reading`` hands the answer to the
exchange that waits for it, in the parts that a publisher's answer comes in.
Nothing here knows the HTTP server or Redis.
"""
