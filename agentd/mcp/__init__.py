"""The MCP server: agents hand work to other agents by their own tools. The program of ``agentctl mcp``."""
