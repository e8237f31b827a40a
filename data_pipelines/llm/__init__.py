"""Asks language models for text, and keeps every reply.

A request goes through these modules:

  requests.py    what is asked, and the errors
  client.py      concurrency, retries and budget
  providers.py   one call of one model
  ledger.py      every reply, on disk
  replies.py     what a reply says, or why it is refused

What a model replied is kept; what was made of it is computed anew from there. So a run that was
killed continues where it was, asks for nothing that it has, and ends with the same files.
"""
