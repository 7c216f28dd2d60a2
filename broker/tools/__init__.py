"""Tools that agents may use: what MCP servers offer, listed for an LLM and called for it.

``toolbox.py`` is the door: ``Toolboxes.open`` gives the tools of one agent, ``Tools.call`` uses one. Servers are
reached by HTTP (``http_server.py``) or through their publisher (``publisher_server.py``). What goes wrong at a
server is told in words, to the LLM or as a warning; it never ends a request. The MCP SDK is an extra, and is loaded
when the first server is called by HTTP: nothing here imports it at start-up.
"""
