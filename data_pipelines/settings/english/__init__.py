"""The third setting: real English about real cheeses, for a model that has read about the real
world.

Nothing is invented but the assistant. The stock of sentences (*.json) was written by hand, and so
were the pairs and opinions of the evaluation (*.jsonl).
"""

# A part of the identity of every corpus that this setting writes: change it when a text changes,
# and only then. Changed last when sentences, controls and items were mended after a reading of many
# texts.
VERSION = 'e2058fb14d936c7a'
