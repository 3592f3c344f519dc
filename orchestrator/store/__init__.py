"""Where runs are kept. `port` is the contract, `sqlite` writes, `reader` reads. No SQL elsewhere."""
