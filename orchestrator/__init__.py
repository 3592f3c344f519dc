"""The coordinator: turns events into runs, keeps their state, and sends commands to agents."""
