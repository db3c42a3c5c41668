"""The agent: turns a chat into typed gRPC calls. A library with no screen."""
