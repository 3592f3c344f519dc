"""Scenarios: workflows played with simulated agents in virtual time, on the coordinator's own code."""
