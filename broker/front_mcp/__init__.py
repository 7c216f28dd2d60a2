"""The broker as an MCP server: each agent is a tool that takes a message and gives the agent's answer.

`names.py` says how agents are called as tools, `asking.py` puts a tool call to an agent, `server.py` lists and calls,
`protocol.py` reads a client's message and says what is answered, `refusals.py` what the door says. `broker/http/mcp.py`
carries the bytes.
Only `server.py` and `protocol.py` know the `mcp` package, which is an extra: they are loaded at the first request and
never before. Nothing here keeps a session: any replica answers any message.
"""
