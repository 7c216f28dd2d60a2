"""Real engines that nobody here wrote, each behind the same story as the demo's.

``tiny_model`` makes a model that knows nothing, so that no model need be fetched;
``llamacpp_server`` serves it with llama.cpp's own HTTP server. Both run in
``.venv-engines``, without the project; ``__main__`` tells the story.
"""
