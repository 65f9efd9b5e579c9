"""The conformance kit: what a driver must do, as cases that run on any driver, and a report of them.

``bci device check SPEC`` runs it; `suite.run_cases` is the same from Python. The kit itself is proven by
`mutants`: drivers with one fault each, which fail the case for that fault and no other.
"""
