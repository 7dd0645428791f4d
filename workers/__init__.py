"""Actors: they take a job from a queue, call the pipeline, and say how it went."""
