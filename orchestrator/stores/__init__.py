"""What lives in Redis: definitions, agents, worker leases, circuit breakers. Every write is one atomic script."""
