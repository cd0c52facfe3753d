"""One harness to measure time and memory: our memory modes beside every installed library.

``networks`` builds what is compared, ``plan`` says what is measured, ``compare`` measures it in
interleaved fresh processes (``worker``), ``scaling`` does so along an axis, and ``report`` and
``plots`` show the results. ``timing``, ``memory`` and ``records`` are the clock, the memory reader
and the table and JSON writer of all benchmarks.
"""
