"""/v1/responses.

schema    what requests look like
objects   what answers and events look like
items     input items <-> messages
asking    a request -> an ask; refuses what is not supported
writing   replies -> output items and events
creating  POST /v1/responses
keeping   responses that were stored: retrieve, cancel, delete, list their input
"""
