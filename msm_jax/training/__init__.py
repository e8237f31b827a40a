"""The parts of the loop in `msm_jax/train.py`: the update, batches, checkpoints, checks that end a
phase.
"""
