"""Rosters of any size, made from a seed, for tests, samples and load."""
