"""What both processes are made of: the bus, SQLite, logs, telemetry export, failpoints, the state lock."""
