"""The parts of the loop in `train.py`: the update, batches, checkpoints, checks that stop it."""
