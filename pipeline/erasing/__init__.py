"""Erasing people: wherever the hub keeps something of a person, here is how it goes.

`job` is the run, `people` says who, `records` wipes the roster and its history, `stores` and
`files` list everything else that holds personal values, `retention` files the runs that nobody asks
for, and `returning` keeps packages from bringing back who was erased.
"""
