"""Run the MCP server."""

from __future__ import annotations

import sys

from agentd.mcp.command_line import main

sys.exit(main())
