"""Side-by-side runs against peers and against the machine itself.

``python -m benchmarks.quality`` compares accuracy on many tables, ``benchmarks.flights`` on
flights, ``benchmarks.peers`` time and memory of training and prediction beside other libraries,
``benchmarks.kernels`` the loops with the memory bandwidth. All print ratios of runs on one machine:
seconds alone say more about the machine than about the program.
"""
