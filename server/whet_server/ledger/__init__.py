"""Money and tokens: reserve, settle, caps, prices."""
