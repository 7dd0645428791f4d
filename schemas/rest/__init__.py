"""The JSON of the REST binding, written from the declarations: for the gateway and the workers.

`properties` says what a class consists of, `faces` how each kind of value looks, `records` writes
the object of a stored row, `editions` says what OneRoster 1.1 has otherwise, `instants` has the one
form of an instant.
"""
