"""Objectives: pure functions from parameters and a batch to sums, one module for each."""
