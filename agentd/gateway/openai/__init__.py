"""OpenAI's interface to the agents: models, responses, conversations and chat completions."""
