"""What the commands of `orchestrator` do; `orchestrator.cli` declares their arguments."""
