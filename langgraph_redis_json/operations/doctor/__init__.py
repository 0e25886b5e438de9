"""doctor: what is wrong with a server and its threads, and what can be mended without loss.

`server.py` looks at the server, `indexes.py` at the search indexes, `threads.py` at the documents
of one thread, `unnamed.py` at documents that no table of contents names. Each gives a list of
`Finding`.
"""
