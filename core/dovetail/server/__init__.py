"""The HTTP server: OpenAI's routes over an engine, on Starlette and uvicorn.

serve        binds the socket, starts the engine, runs uvicorn until a signal
app          routes and what they share
gate         in front of every route: request id, API key, draining
limits       reads a body within bounds and decodes it
schema       what requests look like
asking       request fields -> sampling parameters; refuses what is not supported
generation   the replies of one HTTP request, merged
chat, completions, models, tokenize, metrics    the routes
logprobs, sse, errors    the forms of answers
"""
