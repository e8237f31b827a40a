"""Corpora written by a language model: plans, documents, conversations, and their audit.

  request -> author.py (provider, retries, budget) -> ledger.py (every reply, on disk) -> replies.py (what a reply says, or why it is refused)

What a model said is kept; what was made of it is computed anew from there. So a run that was killed goes on where it was, asks for nothing that it
has, and ends with the same files.
"""
