"""The tool catalogue for other agents, over the Model Context Protocol.

Whoever speaks this protocol to us is an agent, whoever sits behind it: its calls go out with the agent's token, wait
for a person where the server wants one, and are held by the same caps.
"""
