"""The third setting: real English about real cheeses, for a model that has read about the real
world.

Nothing is invented but the assistant. The stock of sentences (*.json) was written by hand, and so
were the pairs and opinions of the evaluation (*.jsonl).
"""

# A part of the identity of every corpus that this setting writes: change it when a text changes,
# and only then. Changed last when documents got more kinds, voices, reasons and people who ask,
# quoted the handbook less, and got the variant `unlinked`.
VERSION = '5d1e07c2b94a3f68'
