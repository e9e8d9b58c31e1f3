#!/usr/bin/env python3
"""A program of one's own that tells agentd of its turns: it answers each line, and asks a question about colours."""

import http.client
import json
import os
import socket
import time


def tell(event: str, **body: object) -> dict[str, str]:
    """Post an event, again while agentd is away; what asks is answered once somebody has decided."""
    while True:
        connection = http.client.HTTPConnection("agentd")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(os.environ["AGENTD_HOOK"])
            connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
            said = connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(1)
            continue
        answer: dict[str, str] = json.loads(said) if said else {}
        return answer


tell("ready")
while True:
    line = input("> ")
    tell("started", prompt=line)
    answer = tell("question_asked", text="Which?", choices=["Blue", "Red"])["text"] if "colour" in line else "nothing"
    print(f"done: {line} ({answer})")
    tell("usage", input_tokens=len(line), output_tokens=5)
    tell("ended", final_text=f"done: {line} ({answer})")
