"""``python -m pipeline.bench``, for machines without the libraries of the full CLI."""

import argparse

from pipeline.bench import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mbrl", help="path of an interpreter that has mbrl-lib 0.2.0")
    parser.add_argument("--jax", help="path of an interpreter that has JAX")
    arguments = parser.parse_args()
    main(arguments.threads, arguments.mbrl, arguments.jax)
