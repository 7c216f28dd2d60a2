"""MCP servers of this machine, for the tools of chats at the broker: by stdio, or at a local address.

Nothing is started, and the MCP SDK is not loaded, until the broker asks for the first time.
"""
