"""One module for each system: how it is run, and its driver, which gives it work.

Started as a module (`python -m bench.systems.baton`), each is its driver.
"""
