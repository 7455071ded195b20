"""The HTTP server over an engine, on Starlette and uvicorn.

serve         binds the socket, starts the engine, runs uvicorn until a signal
app           all endpoints, and what they share
gate          in front of every route: request id, API key, draining
limits        reads a body within bounds and decodes it
ask           what is asked of a chat model, in no dialect
conversation  starts what was asked
generation    the replies of one HTTP request, merged
openai/       a dialect: translates what comes in to an ask, and writes the parts of replies in its own form
endpoint      a route, declared
sse, errors   the forms of answers
metrics       for Prometheus
"""
