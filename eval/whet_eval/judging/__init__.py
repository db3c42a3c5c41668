"""The example of a judge that earns its trust: answers, ratings, and one command that goes all the way."""
