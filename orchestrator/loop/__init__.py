"""The coordinator's loop: drain, decide, commit, publish, acknowledge. `coordinator` is where it begins."""
