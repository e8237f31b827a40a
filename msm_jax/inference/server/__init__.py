"""The OpenAI-compatible HTTP server.

`requests` checks the body of an HTTP request and turns it into sampling requests, `responses`
gives answers the shape that OpenAI's clients expect, `tokenization` gives the tokenizer of a model,
`stream` collects the answers while they are generated, `app` is the ASGI application, and
`lifecycle` runs it until a signal arrives.
"""
