"""Model servers as children: start, watch, stop.

kinds       what a server is: its command line, its health path, what it can load
manager     start one, see whether it is up, stop it
keeper      the two small processes between us and the server, which end all of it whatever happens
process     who runs, whose child it is, how to end a family
state       one JSON file a server in the user's runtime folder
"""
