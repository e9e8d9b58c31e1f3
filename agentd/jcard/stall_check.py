"""What of ``stall`` has no effect, since nothing tells what the agent is doing."""

from __future__ import annotations

from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.jcard.stall_table import stall_of
from agentd.model.spec import AgentType, SandboxKind
from agentd.model.stall import UNTOLD


def check_stall(declaration: Declaration, findings: Findings) -> None:
    """Warn of what is never found, or cannot be done."""
    table = declaration.table
    stall = None if table is None else stall_of(table.stall)
    if table is None or stall is None:
        return
    boxed = table.type is AgentType.SANDBOXED and table.sandbox is SandboxKind.GVISOR
    if stall.model is None and stall.tool is None:
        declaration.warning(findings, "has no effect: model and tool are both 0s, any time", "stall")
    elif table.harness != UNTOLD and (not table.turns or boxed):
        why = "it is in gVisor's sandbox" if table.turns else "turns = false"
        message = f"{why}, so its turns are not watched, and it is never known to be at work"
        declaration.warning(findings, f"has no effect: {message}", "stall")
