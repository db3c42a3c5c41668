"""Minds: whatever decides what to do next. `base` says what one is; `chat` is a model behind an OpenAI-compatible
API, `scripted` a twin for tests.
"""
