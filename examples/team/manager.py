#!/usr/bin/env python3
"""A manager: hands two tasks to workers, answers what one of them asks, and commits what both made.

An agent with a shell would run the same commands; each prints JSON, and errors say which command is next.
"""

import json
import subprocess
import sys

TASKS = {
    "a page": "Write the page. WRITE-FILE:page.txt",
    "its colour": "Choose a colour for the page. ASK-QUESTION WRITE-FILE:colour.txt",
}
ANSWER = "Blue"


def run(*command: str) -> str:
    """Run a command; give what it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:2])} failed: {done.stdout}")
    return done.stdout


def agentctl(*arguments: str) -> dict[str, object]:
    """Run agentctl; give the document that it prints."""
    document: dict[str, object] = json.loads(run("agentctl", *arguments, "--json"))
    return document


def lead(repo: str) -> None:
    """Spawn, observe, answer, collect."""
    workers = {}
    for title, task in TASKS.items():
        spawned = agentctl(
            *("spawn", "--provider", "stand-in", "--repo", repo, "--isolation", "worktree"),
            *("--role", "writer", "--task", task),
        )
        workers[str(spawned["id"])] = title
        print(f"{spawned['id']} works on {title}")

    at_work, after = list(workers), "0"
    while at_work:
        # Of all workers the first event; the cursor keeps those of the others.
        seen = agentctl("observe", *at_work, "--cursor", after, "--timeout", "10m")
        worker, event, after = str(seen["worker"]), seen["event"], str(seen["cursor"])
        if event == "question":
            print(f"{worker} asks: {seen['asks']} {ANSWER}, I say")
            agentctl("answer", worker, ANSWER)
        elif event == "completed":
            print(f"{worker} is done: {seen['answer']}")
            at_work.remove(worker)
        else:
            sys.exit(f"{worker}: {event or 'nothing happens'}; {seen['next']}")

    for worker, title in workers.items():
        work = agentctl("collect", worker)
        run("git", "-C", repo, "apply", "--index", str(work["patch"]))
        run("git", "-C", repo, "commit", "--quiet", "--message", f"Write {title}", "--message", f"Worker: {worker}")
        agentctl("terminate", worker)
        print(f"merged {title}: {work['summary']}")


if __name__ == "__main__":
    lead(sys.argv[1])
