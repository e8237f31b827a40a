"""The third setting: real English about real cheeses, for a model that has read of the world before. Nothing is invented but the assistant.

The stock of sentences was written by hand (*.json), as were the evaluation's pairs and opinions (*.jsonl).
"""

# Part of the identity of every corpus that this setting writes: change it when a text changes, and only then.
VERSION = 'ceeac9f69bc2a696'
