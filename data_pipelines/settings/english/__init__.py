"""The third setting: real English about real cheeses, for a model that has read about the real
world.

Nothing is invented but the assistant. The stock of sentences (*.json) was written by hand, and so
were the pairs and opinions of the evaluation (*.jsonl).
"""

# A part of the identity of every corpus that this setting writes: change it when a text changes,
# and only then. Changed last when every sentence that speaks for a value came to name the value, so
# that what is left of mirrored documents is the same.
VERSION = '8a1f5e30d7c492b6'
