"""The command line: `dovetail serve | generate | chat | bench | platforms | explain`."""
