"""The only place where messages of the contract become values and the other way round.

One module for each file of the proto, and the enums of all of them in one.
"""
