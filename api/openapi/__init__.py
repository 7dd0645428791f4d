"""The OpenAPI documents of the hub, made from what is declared, and the page that shows them.

`described` is what a responder says of itself beside its code, `answers` are the shapes it answers
with; `classes` and `reads` follow from the declared entities and the table of operations. From all
of that and from the routes of the app `document` is put together, and `pages` serves it.
"""
