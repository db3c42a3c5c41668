"""The event log: every long call is a run, every run is a list of hashed events that can be watched and proved."""
