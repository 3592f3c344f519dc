"""Where runs are kept. `port` is the contract, `sqlite` writes, `reader` reads beside it; no SQL stands elsewhere."""
