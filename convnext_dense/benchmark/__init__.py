"""Time and memory of our backbone and of every library's, side by side on the user's machine.

``networks`` builds the networks, ``plan`` says what is measured, ``compare`` measures it in processes that run ``worker``,
``scaling`` does so along an axis, ``report`` and ``plots`` show it, ``outputs`` writes it.
"""
