"""Real engines that nobody here wrote, each published, woken, asked and put to sleep.

    the four, and how each is run      known.py
    what is told of one                engine.py
    the order of things                story.py
    the requests that are made         asking.py
    ports                              address.py
    tiny models of random weights      tiny_gguf.py, tiny_transformers.py
    what serves llama.cpp              llamacpp_server.py, nodellama_server.mjs

The last four run in the engines' own environments, without the project. The
publisher starts the engine itself, by a recipe of type ``process``.
"""
