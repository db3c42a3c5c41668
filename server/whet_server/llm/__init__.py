"""One call to one model: cache, ledger, attempts, transport, record. Everything that talks to a model goes through
here.
"""
