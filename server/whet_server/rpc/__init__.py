"""The edge: unpack, call, pack. The only room that speaks proto."""
