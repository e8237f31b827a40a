"""Reinforcement learning: prompts in order, sampled answers, and their rewards.

The loss is in `msm_jax/objectives/policy.py`.
"""
