"""What crosses the wire or is written by users.

Everything here is data: msgspec structs, their limits, and the names of queues. Nothing here does I/O.
"""
