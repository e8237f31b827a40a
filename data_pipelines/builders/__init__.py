"""tfds builders that write documents and chats as ArrayRecord, without TensorFlow.

`corpus_builder.py` lives in a package of its own because tfds wants a builder's class to; ArrayRecord because it is the one format
that needs no TensorFlow and loses no rows.
"""
