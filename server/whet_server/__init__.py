"""The Whet server: models, fan-outs, the ledger, approvals and the event log behind one gRPC contract."""
