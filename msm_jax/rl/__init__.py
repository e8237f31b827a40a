"""Reinforcement learning: prompts in order, sampled answers, and their rewards.

The loss is in `objectives/policy.py`.
"""
