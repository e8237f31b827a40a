"""The tfds builder that writes documents and chats as ArrayRecord, without TensorFlow.

`corpus_builder.py` is in a package of its own because tfds wants one for a builder's class. The
format is ArrayRecord because it is the one that needs no TensorFlow and loses no rows.
"""
