"""What makes one machine enough: a private broker for `baton up`, the demo, the tests and the benchmark."""
