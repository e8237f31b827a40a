"""The third setting: real English about real cheeses, for a model that has read about the real
world.

Nothing is invented but the assistant. The stock of sentences (*.json) was written by hand, and so
were the pairs and opinions of the evaluation (*.jsonl).
"""

# A part of the identity of every corpus that this setting writes: change it when a text changes,
# and only then. Changed last when questions about two cheeses came to name them in random order in
# every kind of document.
VERSION = '3d90c6b71e5fa248'
