"""The third setting: real English about real cheeses, for a model that has read of the world before. Nothing is invented but the assistant.

The stock of sentences was written by hand (*.json), as were the evaluation's pairs and opinions (*.jsonl).
"""
