"""The message bus: a port, the AMQP bus behind it, and an in-memory one that ships for tests."""
