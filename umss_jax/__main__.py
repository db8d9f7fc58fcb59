"""``python -m umss_jax``: the same command as ``umss-jax``."""

from umss_jax.cli import main

if __name__ == "__main__":
    main()
