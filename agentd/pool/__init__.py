"""Workers: handing work to other agents. One library with two faces, agentctl and the MCP server."""
