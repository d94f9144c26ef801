"""Random byte streams to gateway and service, each held against the same application under uvicorn's own protocols.

A stream is a few requests, right or wrong in ways that clients, proxies and attackers have them, cut into packets. What
counts is how many answers come, of which class, and whether the connection stays open; and that no score was written
without an answer. The reference is h11, a parser that shares nothing with ours; httptools, which is ours too, says what
is the parser's and what is our protocol's. What may differ is in `outcomes.py`, each with its reason.
"""
