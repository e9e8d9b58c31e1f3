"""An MCP server on standard input and output, with the tools ``hello`` and ``delete``.

Each call of a tool is a line of JSON, ``[NAME, ARGUMENTS]``, in the file that the variable ``TOY_CALLS`` names.
"""

import json
import os
import sys

TOOLS = [
    {"name": name, "description": f"the tool {name}", "inputSchema": {"type": "object", "properties": {}}}
    for name in ("hello", "delete")
]
NOT_FOUND = {"code": -32601, "message": "there is no such method"}


def answer(method: str, params: dict[str, object]) -> dict[str, object] | None:
    """Give the result of a request."""
    match method:
        case "initialize":
            server = {"name": "toy", "version": "1"}
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": server,
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            if calls := os.environ.get("TOY_CALLS"):
                with open(calls, "a") as file:  # noqa: PTH123 (nothing is imported that takes long)
                    file.write(json.dumps([params["name"], params.get("arguments")]) + "\n")
            return {"content": [{"type": "text", "text": f"{params['name']} is done"}]}
        case "ping":
            return {}
        case _:
            return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        result = answer(message["method"], message.get("params") or {})
        outcome = {"error": NOT_FOUND} if result is None else {"result": result}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}), flush=True)
