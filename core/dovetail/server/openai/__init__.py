"""OpenAI's endpoints, with vLLM's additions.

schema       what requests look like
asking       request fields -> sampling parameters; refuses what is not supported
messages     messages and tools -> what chat templates take
chat, completions, models, tokenize    the routes; routes lists them
responses/   POST /v1/responses and what is kept of it
chunks, logprobs    the forms of answers
"""
