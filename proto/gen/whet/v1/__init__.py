"""The contract of Whet, generated from `proto/whet/v1`."""
